import CMRPImage
import MRPEngine

/// What losses of pixels read, made of the ids of a batch.
public enum PixelTargets {
    /// The class of each pixel and the factor of its loss: its class's weight (1 without weights) over the mean weight of all `ids.count` pixels,
    /// so that the mean of factors times losses is the weighted mean; 0, with label 0, for ids that are ignored or no class. Returns the sum of
    /// the weights.
    @discardableResult public static func fill(
        labels: UnsafeMutableBufferPointer<Int32>, factors: UnsafeMutableBufferPointer<Float>, from ids: UnsafeBufferPointer<Int32>,
        classes: Int, ignored: Int32, weights: [Float]
    ) -> Double {
        guard let source = ids.baseAddress, let labels = labels.baseAddress, let factors = factors.baseAddress else { return 0 }
        let count = Int64(ids.count)
        return weights.withUnsafeBufferPointer {
            mi_pixel_factors(source, count, Int64(classes), ignored, $0.isEmpty ? nil : $0.baseAddress, labels, factors)
        }
    }

    /// 1 for each pixel with a class, else 0.
    public static func fill(
        presence: UnsafeMutableBufferPointer<Float>, from ids: UnsafeBufferPointer<Int32>, classes: Int, ignored: Int32
    ) {
        guard let source = ids.baseAddress, let presence = presence.baseAddress else { return }
        mi_pixel_presence(source, Int64(ids.count), Int64(classes), ignored, presence)
    }
}
