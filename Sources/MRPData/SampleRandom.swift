import CMRPKernels
import Glibc
import MRPEngine

/// The random numbers of one augmentation step for one view of an image in one epoch: a function of (seed, epoch, image, view, position
/// of the step), so that neither threads nor batch order nor the numbers that other steps draw can disturb them. Each view has a stream of
/// its own: substream `view` of the purpose.
public struct SampleRandom {
    private let seed: UInt64
    private let stream: UInt32
    private let epoch: UInt32
    private var counter: UInt64
    private var words: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
    private var used = 4

    /// `sample` below 2^48, `position` below 256, `view` below 2^24; up to 1024 numbers are independent.
    public init(seed: UInt64, purpose: RandomStream.Purpose = .augmentation, epoch: Int, sample: Int, position: Int, view: Int = 0) {
        self.seed = seed
        stream = RandomStream(seed: seed, purpose, substream: UInt32(truncatingIfNeeded: view)).stream
        self.epoch = UInt32(truncatingIfNeeded: epoch)
        counter = UInt64(truncatingIfNeeded: sample) << 16 | UInt64(truncatingIfNeeded: position & 255) << 8
    }

    /// 32 random bits.
    public mutating func word() -> UInt32 {
        if used == 4 {
            withUnsafeMutableBytes(of: &words) {
                mk_philox(seed, stream, epoch, counter, $0.baseAddress?.assumingMemoryBound(to: UInt32.self))
            }
            counter &+= 1
            used = 0
        }
        defer { used += 1 }
        switch used {
        case 0: return words.0
        case 1: return words.1
        case 2: return words.2
        default: return words.3
        }
    }

    /// Uniform in [0, 1), 24 bits.
    public mutating func uniform() -> Float { Float(word() >> 8) * 0x1p-24 }

    /// Uniform in [low, high).
    public mutating func uniform(_ low: Double, _ high: Double) -> Double { low + (high - low) * Double(uniform()) }

    /// Uniform in 0 ..< count; count at least 1, below 2^32.
    public mutating func below(_ count: Int) -> Int { Int((UInt64(word()) * UInt64(count)) >> 32) }

    /// Normal with mean 0 and deviation 1 (Box and Muller 1958); takes two numbers.
    public mutating func normal() -> Double {
        let radius = (-2 * log(1 - Double(uniform()))).squareRoot()
        return radius * cos(2 * .pi * Double(uniform()))
    }

    /// Beta(a, a) as X / (X + Y) of two gamma variates.
    public mutating func symmetricBeta(_ a: Double) -> Double {
        let (x, y) = (gamma(a), gamma(a))
        return x + y > 0 ? x / (x + y) : 0.5
    }

    /// Gamma(shape, 1) by rejection (Marsaglia & Tsang 2000); below 1 by their boost, Gamma(shape + 1) U^(1 / shape).
    private mutating func gamma(_ shape: Double) -> Double {
        let boosted = shape < 1 ? shape + 1 : shape
        let d = boosted - 1.0 / 3, c = 1 / (9 * d).squareRoot()
        var result = d
        for _ in 0..<64 {  // accepted with a probability above 0.95 each time
            let z = normal()
            let v = (1 + c * z) * (1 + c * z) * (1 + c * z)
            guard v > 0, log(1 - Double(uniform())) < 0.5 * z * z + d - d * v + d * log(v) else { continue }
            result = d * v
            break
        }
        return shape < 1 ? result * pow(1 - Double(uniform()), 1 / shape) : result
    }
}
