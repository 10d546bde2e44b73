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
        case balancing = 23
        case clustering = 30
        case montage = 31
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

    /// The same from any place: those of a slice are the numbers that the whole batch has there.
    public func fillUniform(_ output: UnsafeMutableBufferPointer<Float>, step: Int, from place: Int) {
        // A counter makes four numbers.
        let lead = min((4 - place % 4) % 4, output.count)
        var four: (Float, Float, Float, Float) = (0, 0, 0, 0)
        if lead > 0 {
            withUnsafeMutableBytes(of: &four) { bytes in
                let values = bytes.bindMemory(to: Float.self)
                fillUniform(values, step: step, first: place - place % 4)
                for index in 0..<lead { output[index] = values[place % 4 + index] }
            }
        }
        guard lead < output.count else { return }
        fillUniform(UnsafeMutableBufferPointer(rebasing: output[lead...]), step: step, first: place + lead)
    }

    /// Normal numbers N(0, 1).
    public func fillNormal(_ output: UnsafeMutableBufferPointer<Float>, step: Int = 0, first: Int = 0) {
        mk_random_normal(seed, stream, UInt32(truncatingIfNeeded: step), UInt64(first), Int64(output.count), output.baseAddress)
    }
}
