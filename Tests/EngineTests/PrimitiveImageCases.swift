import MRPEngine

/// Convolutions, pools and updates; see PrimitiveCases.swift.
extension PrimitiveCase {
    struct ImageGeometry: Sendable {
        var height = 5
        var width = 4
        var channels = 3
        var outputs = 4
        var groups = 1
        var kernel = 3
        var stride = 1
        var padding = 1
        var dilation = 1

        func windows() throws -> (rows: Window, columns: Window) {
            (
                try Window(height, kernel: kernel, stride: stride, padding: padding, dilation: dilation),
                try Window(width, kernel: kernel, stride: stride, padding: padding, dilation: dilation)
            )
        }
    }

    private static let geometries: [ImageGeometry] = [
        .init(), .init(stride: 2), .init(height: 1, width: 1, stride: 2), .init(channels: 4, groups: 2), .init(channels: 4, groups: 4),
        .init(kernel: 1, padding: 0), .init(kernel: 1, stride: 2, padding: 0),
        .init(height: 7, width: 6, kernel: 3, stride: 2, padding: 2, dilation: 2), .init(kernel: 2, stride: 3, padding: 0),
        .init(kernel: 2, stride: 1, padding: 3), .init(height: 8, width: 6, channels: 6, outputs: 4, groups: 2, stride: 2),
    ]

    /// Visible positions and their inverse.
    private static func places(_ g: CaseGraph, _ name: String, _ visible: [[Int32]], area: Int) throws -> [Value] {
        let positions = visible.enumerated().flatMap { image, list in list.map { Int32(image * area) + $0 } }
        var rows = [Int32](repeating: -1, count: visible.count * area)
        for (row, position) in positions.enumerated() { rows[Int(position)] = Int32(row) }
        return [
            try g.indices(name + " positions", positions, [visible.count, visible[0].count]),
            try g.indices(name + " rows", rows, [visible.count, area]),
        ]
    }

    /// 4 x 4 pixels, of which each image shows two cells of 2 x 2.
    private static func fine(_ g: CaseGraph) throws -> [Value] {
        try places(g, "fine", [[0, 1, 4, 5, 10, 11, 14, 15], [2, 3, 6, 7, 10, 11, 14, 15]], area: 16)
    }

    /// 2 x 2 positions; not all of them look at visible pixels.
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

    // MARK: Updates

    /// A parameter of 3 x 4 with its gradient and moments, of which the second is not negative.
    private static func update(_ name: String, _ operation: any Operation, moments: Int, _ scalars: [Double?], zero: Bool = false)
        -> PrimitiveCase
    {
        PrimitiveCase(name: name, differentiated: false) { g in
            var inputs: [Value?] = try [g.real("p", [3, 4]) { zero ? 0 : $0 }, g.real("g", [12])]
            for moment in 0..<moments { inputs.append(try g.real("moment \(moment)", [3, 4]) { moment == 1 ? $0 * $0 : $0 }) }
            for (index, scalar) in scalars.enumerated() { inputs.append(scalar.map { g.scalar("scalar \(index)", $0) }) }
            try g.graph.apply(operation, inputs)
            // A later update reads what the first one wrote.
            try g.graph.apply(MovingAverage(), [g.real("average", [3, 4]), inputs[0], g.scalar("decay", 0.9)])
            return []
        }
    }

    static let updates: [PrimitiveCase] =
        [false, true].flatMap { layerWise in
            [[0.03, 0.7, 3, 0.5], [0.03, nil, 1, nil], [0.03, nil, 2000]].enumerated().map { index, scalars in
                update(
                    "adamw \(index), layer-wise \(layerWise)", AdamW(.init(weightDecay: 0.1, rateScale: 0.75, layerWise: layerWise)),
                    moments: 2, scalars)
            }
        }
        + [(true, 0.0), (false, 0.0), (false, 0.02), (true, 0.02)].map { nesterov, trust in
            update(
                "sgd nesterov \(nesterov) trust \(trust)",
                SGD(.init(momentum: 0.8, nesterov: nesterov, weightDecay: 0.1, rateScale: 0.75, trust: trust)), moments: 1,
                nesterov ? [0.03, 0.7, 0.5] : [0.03])
        }
        + [
            PrimitiveCase(name: "update of a scalar", differentiated: false) { g in
                try g.graph.apply(
                    SGD(.init(weightDecay: 0.1)), [g.real("p", []), g.real("g", []), g.real("m", []), g.scalar("rate", 0.1)])
                return []
            },
            PrimitiveCase(name: "assign", differentiated: false) { g in
                try g.graph.apply(Assign(), [g.real("state", [2, 3]), g.graph.apply(Scale(2), [g.real("new", [2, 3])])[0]])
                return []
            },
            update("lamb from zero", AdamW(.init(layerWise: true)), moments: 2, [0.03, nil, 1], zero: true),
            update("lars from zero", SGD(.init(trust: 0.02)), moments: 1, [0.03], zero: true),
            PrimitiveCase(name: "sums of gradients", differentiated: false) { g in
                for (name, keep) in [("a", 0.0), ("b", 1)] {
                    let sum = try g.real(name, [2, 3]) { keep == 0 ? .nan : $0 }
                    try g.graph.apply(
                        SumGradient(), [sum, g.real("gradient", [6]), g.scalar("keep " + name, keep), g.scalar("share", 0.25)])
                }
                return []
            },
        ]
        + [0.5, 100].map { limit in
            PrimitiveCase(name: "clip scale \(limit)", differentiated: false) { g in
                let norms = try [[2, 3], [5]].enumerated().map { index, shape in
                    try g.graph.apply(Norm(), [g.real("gradient \(index)", shape)])[0]
                }
                return try g.graph.apply(ClipScale(limit: limit), norms)
            }
        }
}
