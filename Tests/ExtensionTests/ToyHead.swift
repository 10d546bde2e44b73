import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

/// Predicts the number of an image's class as one real number.
struct ClassNumber: Head {
    static let name = "class_number"

    static let descriptor = HeadDescriptor(
        name, "the number of the class as a real number", names: [NameRow("class_number")], make: { _ in ClassNumber() },
        objective: { head, request in ClassNumberTraining(head: head, encoder: request.encoder) }, read: { _ in ClassNumber() })

    var classes: Int { 1 }
    var settings: [(key: String, value: JSON)] { [("classes", .integer(classes))] }

    func parameters(on encoder: any ImageEncoder) -> [ParameterSpecification] {
        linearParameters("class_number", from: encoder.featureWidth, to: 1)
    }

    func outputs(_ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder) throws -> Value {
        let features = try encoder.features(images, layer: nil, pooling: nil, builder)
        return try builder.linear("class_number", encoder.pooled(features, builder))
    }
}

/// Its loss: the squared error.
struct ClassNumberTraining: TrainingObjective {
    let head: any Head
    let encoder: any ImageEncoder

    var objectiveName: String { head.name }

    func losses(_ builder: NetworkBuilder, batch: Int) throws -> [Loss] {
        let outputs = try head.outputs(Inputs.images(builder.graph, encoder.geometry, batch: batch), of: encoder, builder)
        let numbers = builder.graph.input("class_numbers", TensorType([batch, 1]), filledBy: .loader)
        return [Loss("squared_error", try builder.graph.apply(MeanSquaredError(), [outputs, numbers])[0], weight: 0.5)]
    }

    func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        try program.write(reals: step.labels.map(Double.init), to: "class_numbers")
        return true
    }
}

/// Twice the cross entropy.
struct DoubleCrossEntropy: ClassificationLoss {
    static let descriptor = LossDescriptor("double_cross_entropy", source: "a test", make: { _ in DoubleCrossEntropy() })

    func loss(_ logits: Value, labels: Value, in graph: Graph) throws -> Value {
        try graph.apply(Scale(2), graph.apply(SoftmaxCrossEntropy(), [logits, labels]).prefix(1).map { $0 })[0]
    }

    func loss(_ logits: Value, shares: Value, in graph: Graph) throws -> Value {
        throw MRPError(.unsupported, "loss double_cross_entropy has no form for mixed images")
    }
}
