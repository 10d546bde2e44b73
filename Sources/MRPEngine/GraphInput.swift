/// An input of a graph: memory that somebody fills before each run.
public struct GraphInput: Equatable, Sendable {
    public enum Source: Sendable {
        /// The data loader: images, labels, targets made of labels.
        case loader
        /// The objective: which patches are hidden, and index lists that follow from that.
        case masks
        /// The course of the run: learning rate, decays, stochastic depth.
        case schedule
        /// The caller or a test.
        case host
    }

    public let name: String
    public let type: TensorType
    public let source: Source

    public init(name: String, type: TensorType, source: Source) {
        self.name = name
        self.type = type
        self.source = source
    }
}

/// Scalars of a training step, doubles that the host computes: inputs of the graph by these names.
public enum StepScalar: String, CaseIterable, Sendable {
    case learningRate = "learning_rate"
    /// Factor of every weight decay (its schedule).
    case decayScale = "decay_scale"
    /// Number of the update, from 1 (for Adam's bias correction).
    case step = "step"
    /// EMA decay of a teacher's weights.
    case teacherDecay = "teacher_decay"
    /// Weight of a loss that grows in the course of the run.
    case lossRamp = "loss_ramp"
    /// EMA decay of the averaged weights.
    case averageDecay = "average_decay"
    /// Factor of the gradients summed before: 0 in the first part of a step, then 1.
    case accumulationKeep = "accumulation_keep"
    /// Factor of a part's gradients: 1 / accumulation steps.
    case accumulationShare = "accumulation_share"
}

extension Graph {
    /// A scalar of the step, float64.
    public func scalar(_ scalar: StepScalar) -> Value {
        input(scalar.rawValue, TensorType([], .float64), filledBy: .schedule)
    }
}
