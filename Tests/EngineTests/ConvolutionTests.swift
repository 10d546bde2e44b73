import MRPEngine
import Testing

/// Convolution, batch norm and pooling: gradients against central differences, shapes, lists of visible positions, running statistics.
@Suite struct ConvolutionTests {
    let gradients = GradientTests()

    struct Geometry: Sendable {
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

    @Test(arguments: [
        Geometry(), Geometry(stride: 2), Geometry(height: 1, width: 1, stride: 2), Geometry(channels: 4, groups: 2),
        Geometry(channels: 4, groups: 4), Geometry(kernel: 1, padding: 0), Geometry(kernel: 1, stride: 2, padding: 0),
        Geometry(height: 7, width: 6, kernel: 3, stride: 2, padding: 2, dilation: 2), Geometry(kernel: 2, stride: 3, padding: 0),
    ]) func convolution(_ size: Geometry) throws {
        let (rows, columns) = try size.windows()
        let (positions, outputs) = (size.height * size.width, rows.outputSize * columns.outputSize)
        try gradients.check([
            "x": [2, positions, size.channels], "bias": [size.outputs], "addend": [2, outputs, size.outputs],
            "weight": [size.outputs, size.channels / size.groups, size.kernel, size.kernel],
        ]) { graph, values in
            try graph.apply(
                Convolution(rows: rows, columns: columns, groups: size.groups),
                [values["x"], values["weight"], values["bias"], values["addend"]])[0]
        }
    }

    /// Places of two images of which each shows `visible` positions.
    func places(_ visible: [[Int32]], height: Int, width: Int) throws -> (positions: Tensor, rows: Tensor) {
        let (area, count) = (height * width, visible[0].count)
        let positions = visible.enumerated().flatMap { image, list in list.map { Int32(image * area) + $0 } }
        var rows = [Int32](repeating: -1, count: visible.count * area)
        for (row, position) in positions.enumerated() { rows[Int(position)] = Int32(row) }
        return (
            try gradients.indices(positions, shape: [visible.count, count]), try gradients.indices(rows, shape: [visible.count, area])
        )
    }

    /// 4 x 4 pixels in cells of 2 x 2, of which each image shows two: at stride 2 they are single positions.
    func cells() throws -> (fine: (positions: Tensor, rows: Tensor), coarse: (positions: Tensor, rows: Tensor)) {
        (
            try places([[0, 1, 4, 5, 10, 11, 14, 15], [2, 3, 6, 7, 10, 11, 14, 15]], height: 4, width: 4),
            try places([[0, 3], [1, 3]], height: 2, width: 2)
        )
    }

    @Test(arguments: [1, 2]) func convolutionOfVisiblePositions(_ stride: Int) throws {
        let (fine, coarse) = try cells()
        let window = try Window(4, kernel: 3, stride: stride, padding: 1)
        let target = stride == 1 ? fine : coarse
        let ids = ["a": fine.positions, "b": fine.rows, "c": target.positions, "d": target.rows]
        try gradients.check(["x": [2, 8, 3], "weight": [5, 3, 3, 3]], ids: ids) { graph, values in
            try graph.apply(
                Convolution(rows: window, columns: window),
                [values["x"], values["weight"], nil, nil, values["a"], values["b"], values["c"], values["d"]])[0]
        }
    }

    @Test(arguments: [Pool.Kind.maximum, .average]) func pools(_ kind: Pool.Kind) throws {
        let window = try Window(4, kernel: 3, stride: 2, padding: 1)
        try gradients.check(["x": [2, 16, 3]]) { graph, values in
            try graph.apply(Pool(kind, rows: window, columns: window), [values["x"]])[0]
        }
        let (fine, coarse) = try cells()
        let ids = ["a": fine.positions, "b": fine.rows, "c": coarse.positions, "d": coarse.rows]
        try gradients.check(["x": [2, 8, 3]], ids: ids) { graph, values in
            try graph.apply(
                Pool(kind, rows: window, columns: window), [values["x"], values["a"], values["b"], values["c"], values["d"]])[0]
        }
    }

    @Test(arguments: [(false, false), (false, true), (true, false), (true, true)])
    func batchNorm(_ options: (relu: Bool, frozen: Bool)) throws {
        try gradients.check(["x": [2, 5, 3], "gamma": [3], "beta": [3], "residual": [2, 5, 3]]) { graph, values in
            var inputs = ["x", "gamma", "beta", "residual"].map { values[$0] }
            if options.frozen {
                for numbers in [[0.1, -0.2, 0.3], [0.9, 1.2, 1.5]] {
                    let tensor = try Tensor([3])
                    for (index, value) in numbers.enumerated() { tensor[index] = value }
                    inputs.append(graph.constant(tensor))
                }
            }
            return try graph.apply(BatchNorm(epsilon: 1e-5, activation: options.relu ? .relu : .none, frozen: options.frozen), inputs)[0]
        }
    }

    /// A frozen norm with a residual and a ReLU as part of the convolution before it, against the norm by itself.
    @Test(arguments: [
        Geometry(height: 16, width: 12, channels: 32, outputs: 40), Geometry(height: 9, width: 7, channels: 5, outputs: 33, stride: 2),
        Geometry(height: 6, width: 5, channels: 20, outputs: 37, kernel: 1, padding: 0), Geometry(channels: 4, groups: 2),
        Geometry(channels: 4, groups: 4), Geometry(kernel: 1, stride: 2, padding: 0),
    ]) func frozenNorm(_ size: Geometry) throws {
        let (rows, columns) = try size.windows()
        let images = 9
        let shapes = [
            "x": [images, size.height * size.width, size.channels], "gamma": [size.outputs], "beta": [size.outputs],
            "mean": [size.outputs], "variance": [size.outputs],
            "weight": [size.outputs, size.channels / size.groups, size.kernel, size.kernel],
            "residual": [images, rows.outputSize * columns.outputSize, size.outputs],
        ]
        for (activation, hasResidual) in [(BatchNorm.Activation.none, false), (.relu, true), (.relu6, false)] {
            try compareFrozenNorm(shapes, ids: [:], activation, hasResidual) { graph, values in
                let operation = Convolution(rows: rows, columns: columns, groups: size.groups)
                return try graph.apply(operation, [values["x"], values["weight"]])[0]
            }
        }
    }

    @Test(arguments: [1, 2]) func frozenNormOfVisiblePositions(_ stride: Int) throws {
        let (fine, coarse) = try cells()
        let window = try Window(4, kernel: 3, stride: stride, padding: 1)
        let target = stride == 1 ? fine : coarse
        let ids = ["a": fine.positions, "b": fine.rows, "c": target.positions, "d": target.rows]
        var shapes = ["x": [2, 8, 40], "weight": [5, 40, 3, 3], "residual": [2, stride == 1 ? 8 : 2, 5]]
        for name in ["gamma", "beta", "mean", "variance"] { shapes[name] = [5] }
        try compareFrozenNorm(shapes, ids: ids, .relu, true) { graph, values in
            try graph.apply(
                Convolution(rows: window, columns: window),
                [values["x"], values["weight"], nil, nil, values["a"], values["b"], values["c"], values["d"]])[0]
        }
    }

    func compareFrozenNorm(
        _ shapes: [String: [Int]], ids: [String: Tensor], _ activation: BatchNorm.Activation, _ hasResidual: Bool,
        convolution: (Graph, [String: Value]) throws -> Value
    ) throws {
        for (precision, tolerance) in [(Precision.float64, 1e-12), (.float32, 2e-5)] {
            let graph = Graph()
            var (values, bound) = ([String: Value](), ids)
            for (name, shape) in shapes {
                let normal = try gradients.normal(shape, name)
                let tensor = try Tensor(shape, precision: precision)
                // Weights are small, so that few sums lie beyond 6.
                for index in 0..<tensor.count {
                    let value = normal[index]
                    tensor[index] = name == "variance" ? 0.1 + value * value : name == "weight" ? 0.1 * value : value
                }
                bound[name] = tensor
            }
            for (name, tensor) in bound { values[name] = graph.bound(name, tensor.type) }
            let residual = hasResidual ? values["residual"] : nil
            let statistics = ["gamma", "beta", "mean", "variance"].map { values[$0]! }
            let inputs = [try convolution(graph, values), statistics[0], statistics[1], residual, statistics[2], statistics[3]]
            let apart = try graph.apply(BatchNorm(epsilon: 1e-3, activation: activation, frozen: true), inputs)[0]
            let joined = try graph.frozenBatchNorm(
                convolution(graph, values), gamma: statistics[0], beta: statistics[1], mean: statistics[2], variance: statistics[3],
                residual: residual, epsilon: 1e-3, activation: activation)
            let program = try CPUProgram(graph, outputs: [apart, joined], state: bound, compute: Compute(precision: precision))
            try program.run()
            let expected = try program.reals(apart)
            let largest = expected.reduce(0) { max($0, abs($1)) }
            let error = try zip(program.reals(joined), expected).reduce(0) { max($0, abs($1.0 - $1.1)) }
            #expect(largest > 0.1 && error <= tolerance * largest, "\(precision): \(error) of \(largest)")
        }
    }

    /// A norm joins a convolution that adds nothing itself and whose sum nobody else reads. Only then it has no gradient.
    @Test func whatFrozenNormsJoin() throws {
        for (bias, isRead, joins) in [(false, false, true), (true, false, false), (false, true, false)] {
            let graph = Graph()
            let window = try Window(4, kernel: 3, padding: 1)
            let (x, weight) = (graph.bound("x", TensorType([1, 16, 2])), graph.bound("w", TensorType([2, 2, 3, 3])))
            let one = graph.bound("one", TensorType([2]))
            let sum = try graph.apply(Convolution(rows: window, columns: window), [x, weight, bias ? one : nil])[0]
            if isRead { try graph.apply(Add(), [sum, sum]) }
            let y = try graph.frozenBatchNorm(sum, gamma: one, beta: one, mean: one, variance: one, epsilon: 1e-5, activation: .relu)
            let again = try graph.frozenBatchNorm(y, gamma: one, beta: one, mean: one, variance: one, epsilon: 1e-5)
            let loss = try graph.apply(MeanSquaredError(), [again, graph.constant(Tensor([1, 16, 2]))])[0]
            if joins {
                let error = #expect(throws: MRPError.self) { try graph.gradients(of: loss, withRespectTo: [weight]) }
                #expect(error?.code == .unsupported)
                #expect(error?.message == "a convolution that holds a frozen norm has no gradient")
            } else {
                #expect(try graph.gradients(of: loss, withRespectTo: [weight]).count == 1)
            }
        }
    }

    /// A block of a residual network: the input is used twice, so its gradients are summed inside a convolution.
    @Test func residualBlock() throws {
        let window = try Window(3, kernel: 3, padding: 1)
        let names = ["gamma1", "beta1", "gamma2", "beta2"]
        var shapes = ["x": [2, 9, 4], "w1": [4, 4, 3, 3], "w2": [4, 4, 3, 3]]
        for name in names { shapes[name] = [4] }
        try gradients.check(shapes) { graph, values in
            let convolution = Convolution(rows: window, columns: window)
            let first = try graph.apply(convolution, [values["x"], values["w1"]])[0]
            let middle = try graph.apply(BatchNorm(activation: .relu), [first, values["gamma1"], values["beta1"]])[0]
            let second = try graph.apply(convolution, [middle, values["w2"]])[0]
            return try graph.apply(BatchNorm(activation: .relu), [second, values["gamma2"], values["beta2"], values["x"]])[0]
        }
    }

    /// Winograd's method and the direct sum give nearly, not exactly, the same.
    @Test func directConvolutions() throws {
        let graph = Graph()
        let (x, weight) = (graph.input("x", TensorType([8, 256, 32])), graph.input("w", TensorType([32, 32, 3, 3])))
        let window = try Window(16, kernel: 3, padding: 1)
        let y = try graph.apply(Convolution(rows: window, columns: window), [x, weight])[0]
        let results = try [false, true].map { direct -> [Double] in
            let program = try CPUProgram(graph, outputs: [y], state: [:], compute: Compute(convolvesDirectly: direct))
            for name in ["x", "w"] { try program.withInput(name, as: Float.self) { RandomStream(seed: 4, .test).fillNormal($0) } }
            try program.run()
            return try program.reals(y)
        }
        let largest = zip(results[0], results[1]).reduce(0) { max($0, abs($1.0 - $1.1)) }
        #expect(largest > 0 && largest < 1e-4 * results[1].reduce(0) { max($0, abs($1)) })
    }

    @Test func windows() throws {
        #expect(try Window(224, kernel: 7, stride: 2, padding: 3).outputSize == 112)
        #expect(try Window(1, kernel: 3, padding: 1).outputSize == 1)
        #expect(try Window(5, kernel: 3, dilation: 2).outputSize == 1)
        let tooLarge = #expect(throws: MRPError.self) { try Window(4, kernel: 5) }
        #expect(tooLarge?.message == "a kernel that reaches over 5 pixels does not fit an image of 4 + 2 x 0")
        for (kernel, stride, dilation) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (Int.max, 1, 1)] {
            let error = #expect(throws: MRPError.self) { try Window(4, kernel: kernel, stride: stride, dilation: dilation) }
            #expect(error?.code == .argument)
        }
    }

    @Test func runningStatistics() throws {
        let graph = Graph()
        let x = graph.input("x", TensorType([1, 4, 1]))
        let one = graph.bound("one", TensorType([1]))
        let outputs = try graph.apply(BatchNorm(), [x, one, one])
        let running = ["mean", "variance"].map { graph.bound($0, TensorType([1])) }
        try graph.apply(RunningStatistics(rows: 4, momentum: 0.25), running + [outputs[1], outputs[2]])
        let bound = try Dictionary(uniqueKeysWithValues: ["one", "mean", "variance"].map { ($0, try Tensor([1])) })
        for tensor in bound.values { tensor[0] = 1 }
        let program = try CPUProgram(graph, outputs: [outputs[0]], state: bound, compute: Compute())
        try program.write(reals: [1.0, 2, 3, 6], to: "x")
        try program.run(updates: false)
        #expect(bound["mean"]?[0] == 1, "a refused step changes nothing")
        try program.run()
        // Mean 3, unbiased variance 14 / 3.
        #expect(abs(try #require(bound["mean"])[0] - 1.5) < 1e-6)
        #expect(abs(try #require(bound["variance"])[0] - (0.75 + 14.0 / 12)) < 1e-6)
    }
}

/// What a decoder for convolutional encoders is made of, and norms of single images.
@Suite struct UpsamplingTests {
    let gradients = GradientTests()

    @Test(arguments: [(4, 2, 1, 1), (3, 1, 1, 1), (2, 2, 0, 2), (2, 3, 0, 1), (1, 1, 0, 1)])
    func transposedConvolution(_ size: (kernel: Int, stride: Int, padding: Int, groups: Int)) throws {
        let rows = try Window(6, kernel: size.kernel, stride: size.stride, padding: size.padding)
        let columns = try Window(8, kernel: size.kernel, stride: size.stride, padding: size.padding)
        let shapes = [
            "x": [2, rows.outputSize * columns.outputSize, 4], "weight": [4, 3, size.kernel, size.kernel], "bias": [3 * size.groups],
            "addend": [2, 48, 3 * size.groups],
        ]
        try gradients.check(shapes) { graph, values in
            try graph.apply(
                TransposedConvolution(rows: rows, columns: columns, groups: size.groups),
                ["x", "weight", "bias", "addend"].map { values[$0] })[0]
        }
    }

    /// A kernel of ones with stride 2 copies each pixel to four: ConvTranspose2d(1, 1, 2, 2) of torch, and nearest upsampling.
    @Test func nearest() throws {
        try gradients.check(["x": [2, 6, 3]]) { graph, values in
            try graph.upsampleNearest(#require(values["x"]), height: 2, width: 3, factor: 3)
        }
        let graph = Graph()
        let (x, one) = (graph.input("x", TensorType([1, 6, 1])), try Tensor([1, 1, 2, 2]))
        for index in 0..<4 { one[index] = 1 }
        let windows = (try Window(4, kernel: 2, stride: 2), try Window(6, kernel: 2, stride: 2))
        let outputs = [
            try graph.upsampleNearest(x, height: 2, width: 3, factor: 2),
            try graph.apply(TransposedConvolution(rows: windows.0, columns: windows.1), [x, graph.constant(one)])[0],
        ]
        let program = try CPUProgram(graph, outputs: outputs, state: [:], compute: Compute())
        try program.write(reals: (0..<6).map(Double.init), to: "x")
        try program.run()
        for output in outputs {
            #expect(
                try program.reals(output)
                    == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 3, 3, 4, 4, 5, 5])
        }
        #expect(throws: MRPError.self) { try graph.upsampleNearest(x, height: 2, width: 2, factor: 2) }
    }

    @Test(arguments: [ImageNorm.Kind.group(1), .group(2), .group(6), .response]) func imageNorm(_ kind: ImageNorm.Kind) throws {
        try gradients.check(["x": [3, 5, 6], "gamma": [6], "beta": [6]]) { graph, values in
            try graph.apply(ImageNorm(kind, epsilon: 1e-5), ["x", "gamma", "beta"].map { values[$0] })[0]
        }
        #expect(throws: MRPError.self) {
            let graph = Graph()
            let x = graph.input("x", TensorType([1, 2, 6])), one = graph.input("one", TensorType([6]))
            try graph.apply(ImageNorm(.group(4), epsilon: 1e-5), [x, one, one])
        }
    }

    /// A block of ConvNeXt V2: the output of GELU feeds a norm instead of a linear layer.
    @Test func responseNormAfterGELU() throws {
        let shapes = ["x": [2, 4, 3], "w1": [5, 3], "b1": [5], "gamma": [5], "beta": [5], "w2": [3, 5], "b2": [3]]
        try gradients.check(shapes) { graph, values in
            let hidden = try graph.apply(MatrixProduct(transposeB: true, activation: .gelu), ["x", "w1", "b1"].map { values[$0] })[0]
            let normed = try graph.apply(ImageNorm(.response, epsilon: 1e-6), [hidden, values["gamma"], values["beta"]])[0]
            return try graph.apply(MatrixProduct(transposeB: true), [normed, values["w2"], values["b2"], values["x"]])[0]
        }
    }

    @Test func relu6() throws {
        try gradients.check(["x": [2, 9, 3], "gamma": [3], "beta": [3], "residual": [2, 9, 3]]) { graph, values in
            // A deviation of about 8 reaches both ends.
            let wide = try graph.apply(Scale(8), [values["gamma"]])[0]
            return try graph.apply(
                BatchNorm(activation: .relu6), [values["x"], wide, values["beta"], values["residual"]])[0]
        }
    }

    @Test func cellPlaces() throws {
        let graph = Graph()
        let cells = graph.input("cells", TensorType([2, 2], .int32))
        let outputs = try graph.apply(CellPlaces(gridHeight: 2, gridWidth: 2, side: 2), [cells])
        let program = try CPUProgram(graph, outputs: outputs, state: [:], compute: Compute())
        func numbers(_ index: Int) throws -> [Int32] {
            try program.withOutput(outputs[index], as: Int32.self) { Array($0) }
        }
        try program.write([3, 0, 1, 2], to: "cells")
        try program.run()
        #expect(try numbers(0) == [0, 1, 4, 5, 10, 11, 14, 15, 18, 19, 22, 23, 24, 25, 28, 29])
        #expect(try numbers(2) == [0, 1, 4, 5, 10, 11, 14, 15, 2, 3, 6, 7, 8, 9, 12, 13])
        #expect(try numbers(1).prefix(16) == [0, 1, -1, -1, 2, 3, -1, -1, -1, -1, 4, 5, -1, -1, 6, 7])
        #expect(try numbers(3).suffix(16) == [-1, -1, 0, 1, -1, -1, 2, 3, 4, 5, -1, -1, 6, 7, -1, -1])
        // What is no cell, or is named twice, leaves every entry in range.
        try program.write([9, -1, 2, 2], to: "cells")
        try program.run()
        #expect(try numbers(1).allSatisfy { $0 >= -1 && $0 < 16 } && numbers(0).allSatisfy { $0 >= 0 && $0 < 32 })
        #expect(throws: MRPError.self) {
            try graph.apply(CellPlaces(gridHeight: 1, gridWidth: 1, side: 2), [cells])
        }
    }
}
