import CMRPKernels

/// Counter-based random numbers (Philox-4x32-10): a number is a function of (seed, stream, step, index) and of nothing else, so
/// resuming, thread counts and the order of calls cannot disturb it.
public struct RandomStream: Sendable {
    /// Purpose of a stream; the raw values are part of the reproducibility promise and never change.
    public enum Purpose: UInt32, Sendable {
        case initialization = 1
        case masking = 2
        case shuffling = 3
        case augmentation = 4
        case synthetic = 5
        case subset = 6
        case laboratory = 7
        case dropPath = 8
        case erasing = 20
        case mixing = 21
        case probing = 22
        case test = 99
    }

    public let seed: UInt64
    public let stream: UInt32

    public init(seed: UInt64, _ purpose: Purpose, substream: UInt32 = 0) {
        self.seed = seed
        stream = purpose.rawValue | substream << 8
    }

    /// Uniform numbers in [0, 1) at (step, first ...); `first` is a multiple of 4.
    public func fillUniform(_ output: UnsafeMutableBufferPointer<Float>, step: Int = 0, first: Int = 0) {
        mk_random_uniform(seed, stream, UInt32(truncatingIfNeeded: step), UInt64(first), Int64(output.count), output.baseAddress)
    }

    /// Normal numbers N(0, 1).
    public func fillNormal(_ output: UnsafeMutableBufferPointer<Float>, step: Int = 0, first: Int = 0) {
        mk_random_normal(seed, stream, UInt32(truncatingIfNeeded: step), UInt64(first), Int64(output.count), output.baseAddress)
    }
}
