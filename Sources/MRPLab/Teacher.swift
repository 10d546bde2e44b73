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
    private let output: LabMemory?

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
        output = try LabMemory(samples * student.kernels, elementBytes: student.compute.elementBytes, for: "the teacher's features")
        mk_patch_average(
            Int32(student.compute.elementBytes), Int64(student.weightCount), 0, tau, student.weights.base, copy.weights.base)
        network = copy
    }

    /// samples x K, or nil when the kernels scale the student's inner products.
    func features(_ block: SampleSource.Block) throws -> UnsafeRawPointer? {
        guard let network, let output else { return nil }
        try network.features(block, into: output)
        return UnsafeRawPointer(output.base)
    }

    /// After each step of the student.
    func follow(_ student: PatchNetwork) {
        guard kind == .ema, let network else { return }
        mk_patch_average(
            Int32(student.compute.elementBytes), Int64(student.weightCount), decay, tau, student.weights.base, network.weights.base)
    }
}
