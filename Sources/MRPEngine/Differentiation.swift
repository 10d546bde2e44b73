extension Graph {
    /// Reverse-mode differentiation: appends the nodes that compute d loss / d value for each of `values`.
    ///
    /// The loss is a scalar (shape []). A value that the loss does not depend on is left out of the result. With `recomputing` the values
    /// inside the graph's segments are not kept until their gradients are due but computed again (Chen et al. 2016): the same numbers
    /// from less memory.
    public func gradients(of loss: Value, withRespectTo values: [Value], recomputing: Bool = false) throws -> [Value: Value] {
        guard types[loss.id].count == 1 else {
            throw MRPError(.internalError, "the loss has shape \(types[loss.id].shape), it must be a scalar")
        }
        let influenced = influencedValues(from: values)
        let one = try Tensor([])
        one[0] = 1
        var adjoints: [Value: Value] = [loss: constant(one)]
        var again: [Value: Value] = [:]

        for index in nodes.indices.reversed() {
            if recomputing, let segment = segments.first(where: { $0.last == index }) { again = try recompute(segment) }
            let node = nodes[index]
            let outputGradients = node.outputs.map { adjoints[$0] }
            let wanted = node.inputs.map { $0.map(influenced.contains) ?? false }
            guard outputGradients.contains(where: { $0 != nil }), wanted.contains(true) else { continue }
            let view = DifferentiatedNode(
                inputs: node.inputs.map { value in value.map { again[$0] ?? $0 } }, outputs: node.outputs.map { again[$0] ?? $0 },
                wanted: wanted)
            let contributions = try node.operation.inputGradients(view, outputGradients, in: self)
            guard contributions.count == node.inputs.count else {
                throw MRPError(
                    .internalError, "'\(node.operation.name)' has \(node.inputs.count) inputs and gradients of \(contributions.count)")
            }
            for (input, contribution) in zip(node.inputs, contributions) {
                guard let input, let contribution, influenced.contains(input) else { continue }
                if let sum = adjoints[input] {
                    let shared = adjoints.values.contains(contribution)
                    adjoints[input] = try accumulate(sum, contribution, contributionIsShared: shared)
                } else {
                    adjoints[input] = contribution
                }
            }
        }
        return Dictionary(uniqueKeysWithValues: values.compactMap { value in adjoints[value].map { (value, $0) } })
    }

    /// Appends a segment's nodes once more and returns the new value for each old one. The segment's result is not computed again: the
    /// nodes behind the segment keep it anyway.
    private func recompute(_ segment: Range<Int>) throws -> [Value: Value] {
        var again: [Value: Value] = [:]
        for index in segment.filter({ nodes[$0].operation.updatedInputs.isEmpty }).dropLast() {
            let node = nodes[index]
            let outputs = try apply(node.operation, node.inputs.map { value in value.map { again[$0] ?? $0 } })
            for (old, new) in zip(node.outputs, outputs) { again[old] = new }
        }
        return again
    }

    private func influencedValues(from values: [Value]) -> Set<Value> {
        var result = Set(values)
        for node in nodes where node.inputs.contains(where: { $0.map(result.contains) ?? false }) {
            result.formUnion(node.outputs)
        }
        return result
    }

    /// sum + contribution; added inside the kernel that makes the contribution where that kernel can (residual connections).
    private func accumulate(_ sum: Value, _ contribution: Value, contributionIsShared: Bool) throws -> Value {
        if let producer = producer(of: contribution), nodes[producer].outputs[0] == contribution,
            let form = nodes[producer].operation.addendForm,
            !contributionIsShared, uses(of: contribution) == 0, self.producer(of: sum).map({ $0 < producer }) ?? true
        {
            rewrite(producer, form.operation, input: sum, at: form.index)
            return contribution
        }
        return try apply(Add(), [sum, contribution])[0]
    }
}
