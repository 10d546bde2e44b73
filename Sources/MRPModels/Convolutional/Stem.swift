/// The first layers of a convolutional network.
public enum Stem: String, CaseIterable, Sendable {
    /// Four times smaller images: 7 x 7 with stride 2, then a maximum over 3 x 3 with stride 2; in ConvNeXt patches of 4 x 4.
    case imagenet
    /// Images of the same size, for those of about 32 x 32: 3 x 3 with stride 1; in ConvNeXt single pixels.
    case cifar
}
