import MRPEngine

/// Convolutions, pools and updates; see PrimitiveCases.swift.
extension PrimitiveCase {
    private static let geometries: [ConvolutionTests.Geometry] = [
        .init(), .init(stride: 2), .init(height: 1, width: 1, stride: 2), .init(channels: 4, groups: 2), .init(channels: 4, groups: 4),
        .init(kernel: 1, padding: 0), .init(kernel: 1, stride: 2, padding: 0),
        .init(height: 7, width: 6, kernel: 3, stride: 2, padding: 2, dilation: 2), .init(kernel: 2, stride: 3, padding: 0),
        .init(kernel: 2, stride: 1, padding: 3), .init(height: 8, width: 6, channels: 6, outputs: 4, groups: 2, stride: 2),
    ]

    /// Visible positions of two images of 4 x 4, two cells of 2 x 2 in each, and of their 2 x 2 at stride 2; the last never seen from `fine`.
    private static func places(_ g: CaseGraph, _ name: String, _ visible: [[Int32]], area: Int) throws -> [Value] {
        let positions = visible.enumerated().flatMap { image, list in list.map { Int32(image * area) + $0 } }
        var rows = [Int32](repeating: -1, count: visible.count * area)
        for (row, position) in positions.enumerated() { rows[Int(position)] = Int32(row) }
        return [
            try g.indices(name + " positions", positions, [visible.count, visible[0].count]),
            try g.indices(name + " rows", rows, [visible.count, area]),
        ]
    }

    private static func fine(_ g: CaseGraph) throws -> [Value] {
        try places(g, "fine", [[0, 1, 4, 5, 10, 11, 14, 15], [2, 3, 6, 7, 10, 11, 14, 15]], area: 16)
    }

    private static func coarse(_ g: CaseGraph) throws -> [Value] { try places(g, "coarse", [[0, 1], [1, 2]], area: 4) }

    static let convolutions: [PrimitiveCase] =
        geometries.flatMap { size in
            [false, true].map { added in
                PrimitiveCase(name: "convolution \(size) added \(added)") { g in
                    let (rows, columns) = try size.windows()
                    let addend = [2, rows.outputSize * columns.outputSize, size.outputs]
                    return try g.graph.apply(
                        Convolution(rows: rows, columns: columns, groups: size.groups),
                        [
                            g.real("x", [2, size.height * size.width, size.channels]),
                            g.real("weight", [size.outputs, size.channels / size.groups, size.kernel, size.kernel]),
                            added ? g.real("bias", [size.outputs]) : nil, added ? g.real("addend", addend) : nil,
                        ])
                }
            }
        }
        + [1, 2].map { stride in
            PrimitiveCase(name: "convolution of visible positions, stride \(stride)") { g in
                let window = try Window(4, kernel: 3, stride: stride, padding: 1)
                let (from, to) = try (fine(g), stride == 1 ? fine(g) : coarse(g))
                return try g.graph.apply(
                    Convolution(rows: window, columns: window),
                    [g.real("x", [2, 8, 3]), g.real("weight", [5, 3, 3, 3]), g.real("bias", [5]), nil] + from + to)
            }
        }
        + [BatchNorm.Activation.none, .relu, .relu6].map { activation in
            PrimitiveCase(name: "convolution with a frozen norm, \(activation)", differentiated: false) { g in
                let window = try Window(4, kernel: 3, stride: 2, padding: 1)
                let x = try g.graph.apply(
                    Convolution(rows: window, columns: window), [g.real("x", [2, 16, 3]), g.real("weight", [5, 3, 3, 3])])[0]
                return try [
                    g.graph.frozenBatchNorm(
                        x, gamma: g.real("gamma", [5]), beta: g.real("beta", [5]), mean: g.real("mean", [5]),
                        variance: g.real("variance", [5]) { 0.1 + $0 * $0 },
                        residual: activation == .none ? nil : g.real("residual", [2, 4, 5]), epsilon: 1e-3, activation: activation)
                ]
            }
        }
        + [(4, 2, 1, 1), (3, 1, 1, 1), (2, 2, 0, 4), (3, 2, 1, 2)].map { kernel, stride, padding, groups in
            PrimitiveCase(name: "transposed convolution \(kernel) \(stride) \(padding) \(groups)") { g in
                let rows = try Window(6, kernel: kernel, stride: stride, padding: padding)
                let columns = try Window(8, kernel: kernel, stride: stride, padding: padding)
                let x = try g.real("x", [2, rows.outputSize * columns.outputSize, 4])
                let added = groups > 1 ? nil : try g.real("addend", [2, 48, 3 * groups])
                return try g.graph.apply(
                    TransposedConvolution(rows: rows, columns: columns, groups: groups),
                    [x, g.real("weight", [4, 3, kernel, kernel]), groups > 2 ? nil : g.real("bias", [3 * groups]), added])
            }
        }

    static let pools: [PrimitiveCase] = [Pool.Kind.maximum, .average].flatMap { kind in
        [(3, 2, 1), (2, 2, 0), (3, 1, 1), (2, 3, 2), (2, 1, 0)].map { kernel, stride, padding in
            PrimitiveCase(name: "pool \(kind) \(kernel) \(stride) \(padding)") { g in
                let rows = try Window(5, kernel: kernel, stride: stride, padding: padding)
                let columns = try Window(4, kernel: kernel, stride: stride, padding: padding)
                // Whole numbers have equal neighbours.
                return try g.graph.apply(Pool(kind, rows: rows, columns: columns), [g.real("x", [2, 20, 3]) { $0.rounded() }])
            }
        } + [
            PrimitiveCase(name: "pool \(kind) of visible positions") { g in
                let window = try Window(4, kernel: 3, stride: 2, padding: 1)
                return try g.graph.apply(
                    Pool(kind, rows: window, columns: window), [g.real("x", [2, 8, 3])] + fine(g) + coarse(g))
            }
        ]
    }

    static let updates: [PrimitiveCase] = []
}
