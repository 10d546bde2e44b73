import MRPEngine
import MRPModels
import MRPOptions

/// Targets of the caller's: a function fills them for the images of each batch, for example with features of another model (Wei et al. 2022
/// compare many such targets).
///
/// - The student sees all places, mask tokens where patches are hidden; a convolutional network the visible cells (`MaskedStudent`).
/// - The target is what the caller's function gives for each hidden patch, `width` numbers.
/// - The loss is the mean squared error over hidden patches, or the smooth L1 error where `beta` says so; a linear layer predicts them.
public struct GivenTargets: PretrainingObjective {
    public static let name = "given"

    public let student: any MaskedStudent
    public let beta: Double?

    static let targetsInput = "targets"

    public init(_ encoder: any ImageEncoder, _ settings: StudentSettings, width: Int, beta: Double?) throws {
        student = try settings.student(encoder, Self.name, outputs: width)
        self.beta = beta
    }

    public func parameters() -> [ParameterSpecification] { student.parameters }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let (graph, geometry) = (builder.graph, student.geometry)
        let images = Inputs.images(graph, geometry, batch: batch)
        let prediction = try student.prediction(images, builder, batch: batch)
        let all = graph.input(Self.targetsInput, TensorType([batch, geometry.count, student.outputs]), filledBy: .host)
        let target = try builder.gather(all, ids: student.hidden(graph, batch: batch))
        return try graph.apply(beta.map { SmoothL1(beta: $0) } ?? MeanSquaredError(), [prediction, target])[0]
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        guard let fill = step.targets else {
            throw MRPError(.state, "objective given needs a function that fills the targets: set one before the first step")
        }
        guard try student.prepare(step, program) else { return false }
        let isFilled = try program.withInput(Inputs.imagesName, as: Float.self) { images in
            try program.withInput(Self.targetsInput, as: Float.self) { targets in
                guard fill(step.indices, UnsafeBufferPointer(images), student.geometry.count, targets) else { return false }
                if let bad = targets.firstIndex(where: { !$0.isFinite }) {
                    let each = targets.count / step.batch
                    throw MRPError(.argument, "the targets of image \(step.indices[bad / each]) hold \(targets[bad])")
                }
                return true
            }
        }
        return isFilled == .some(true)
    }
}

extension GivenTargets {
    /// Numbers of a patch's target.
    public static let targetWidth = Option(
        "target_width", .integer(1...65_536), auto: "none, objective given needs it set", section: .objective,
        "Numbers of a patch's target in objective given.")

    public static let descriptor = ObjectiveDescriptor(
        name, source: "the caller's targets", usualMasks: MaskChoice(.random, ratio: 0.6), options: [targetWidth],
        make: { request in
            guard let width = request.options[targetWidth] else {
                throw MRPError(.argument, "objective given needs target_width, the numbers of a target")
            }
            return try GivenTargets(
                request.encoder, request.student(), width: width, beta: request.options[ObjectiveOptions.smoothL1Beta])
        })

    public var takesTargets: Bool { true }
}
