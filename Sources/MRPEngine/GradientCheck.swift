/// Compares the gradient that `Graph.gradients` makes with central differences, in float64.
///
/// It is part of the library so that any build can test itself; an operation that silently cuts the gradient is found here.
public enum GradientCheck {
    public struct Result {
        /// The largest |analytic - numeric| / max(1, |analytic|, |numeric|) over all checked elements.
        public let largestError: Double
        /// Where it was found.
        public let tensor: String
        public let index: Int
        /// How many elements were compared.
        public let count: Int
    }

    /// `build` makes a scalar loss from the bound values named in `tensors` (float64) and, if it likes, integer inputs in
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
        let compute = try Compute(precision: .float64)
        let executor = try Executor(
            graph, outputs: [loss] + values.compactMap { gradients[$0] }, bound: tensors.merging(indices) { first, _ in first },
            compute: compute)

        executor.run()
        var analytic: [String: [Double]] = [:]
        for (name, value) in zip(names, values) {
            guard let gradient = gradients[value], let tensor = tensors[name] else {
                throw MRPError(.internalError, "the loss does not depend on '\(name)'")
            }
            analytic[name] = (0..<tensor.count).map { executor.scalar(gradient, $0) }
        }

        var worst = (error: -1.0, tensor: "", index: 0)
        var count = 0
        for name in names {
            guard let tensor = tensors[name], let expected = analytic[name] else { continue }
            for index in stride(from: 0, to: tensor.count, by: max(1, tensor.count / max(samples, 1))) {
                let original = tensor[index]
                tensor[index] = original + step
                executor.run()
                let above = executor.scalar(loss)
                tensor[index] = original - step
                executor.run()
                let below = executor.scalar(loss)
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
