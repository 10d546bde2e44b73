/// Comparison of the gradients of `Graph.gradients` with central differences, in float64.
///
/// Part of the library, so that any build can test itself.
public enum GradientCheck {
    public struct Result {
        /// The largest |analytic - numeric| / max(1, |analytic|, |numeric|) over all checked elements.
        public let largestError: Double
        /// Name of the tensor and place in it where the largest error was found.
        public let tensor: String
        public let index: Int
        /// Elements that were compared.
        public let count: Int
    }

    /// `build` makes a scalar loss from the bound values named in `tensors` (float64) and, if it likes, integer tensors in
    /// `indices`. At most `samples` elements per tensor are checked, spread evenly. `step` is the half width of the difference.
    public static func run(
        tensors: [String: Tensor], indices: [String: Tensor] = [:], samples: Int = 64, step: Double = 1e-5,
        build: (Graph) throws -> Value
    ) throws -> Result {
        let graph = Graph()
        let loss = try build(graph)
        let names = tensors.keys.sorted().filter { graph.boundValue($0) != nil }
        let values = names.compactMap { graph.boundValue($0) }
        let gradients = try graph.gradients(of: loss, withRespectTo: values)
        let program = try CPUBackend(Compute(precision: .float64)).compile(
            graph, outputs: [loss] + values.compactMap { gradients[$0] }, state: tensors.merging(indices) { first, _ in first })

        try program.run()
        var analytic: [String: [Double]] = [:]
        for (name, value) in zip(names, values) {
            guard let gradient = gradients[value] else {
                throw MRPError(.internalError, "the loss does not depend on '\(name)'")
            }
            analytic[name] = try program.reals(gradient)
        }

        var worst = (error: -1.0, tensor: "", index: 0)
        var count = 0
        for name in names {
            guard let tensor = tensors[name], let expected = analytic[name] else { continue }
            for index in stride(from: 0, to: tensor.count, by: max(1, tensor.count / max(samples, 1))) {
                let original = tensor[index]
                func changedLoss(_ value: Double) throws -> Double {
                    tensor[index] = value
                    try program.uploadState()
                    try program.run()
                    return try program.scalar(loss)
                }
                let (above, below) = (try changedLoss(original + step), try changedLoss(original - step))
                tensor[index] = original
                let numeric = (above - below) / (2 * step)
                let error = abs(expected[index] - numeric) / max(1, abs(expected[index]), abs(numeric))
                if !(error <= worst.error) { worst = (error, name, index) }
                count += 1
            }
        }
        return Result(largestError: worst.error, tensor: worst.tensor, index: worst.index, count: count)
    }
}
