import CMRPKernels
import MRPEngine

/// The teacher, whose features of the whole sample the student predicts.
///
/// - scaled: w^ = tau w. Its inner products are tau times the student's, so the kernels compute it on the way.
/// - ema: w^ is a moving average of tau w, starting at tau w(0).
/// - fixed: w^ = tau w(0).
final class Teacher {
    private let kind: LabOptions.TeacherKind
    private let tau, decay: Double
    /// Weights tau w-hat and features of the current block; nil for the scaled teacher.
    private let network: PatchNetwork?
    private let output: Memory?

    var bytes: Int { (network?.weights.bytes ?? 0) + (output?.bytes ?? 0) }

    init(_ options: LabOptions, student: PatchNetwork, samples: Int) throws {
        kind = options.teacher
        tau = options.tau
        decay = options.emaDecay
        guard kind != .scaled else {
            network = nil
            output = nil
            return
        }
        let copy = try PatchNetwork(copying: student)
        output = try Memory(samples * student.kernels, elementBytes: student.compute.elementBytes, for: "the teacher's features")
        network = copy
        blend(student, keeping: 0)
    }

    /// samples x K, or nil when the kernels scale the student's inner products.
    func features(_ block: SampleSource.Block) throws -> UnsafeRawPointer? {
        guard let network, let output else { return nil }
        try network.features(block, into: output)
        return UnsafeRawPointer(output.base)
    }

    /// After each step of the student.
    func follow(_ student: PatchNetwork) {
        if kind == .ema { blend(student, keeping: decay) }
    }

    /// w^ = share w^ + (1 - share) tau w, by the kernel of the engine's moving averages.
    private func blend(_ student: PatchNetwork, keeping share: Double) {
        guard let network else { return }
        let compute = student.compute
        compute.blend?(
            compute.pool, Int64(student.weightCount), share, (1 - share) * tau, student.weights.base, network.weights.base)
    }
}
