import MRPEngine

/// Inputs that graphs of every objective share. An objective's own (masks, targets) are declared beside it.
public enum Inputs {
    public static let imagesName = "images"
    public static let labelsName = "labels"

    /// Images of a batch, [B, C, H, W] float, as augmentation and standardisation leave them.
    public static func images(_ graph: Graph, _ geometry: PatchGeometry, batch: Int) -> Value {
        graph.input(imagesName, TensorType([batch] + geometry.imageShape), filledBy: .loader)
    }

    /// Class of each image, [B] int32.
    public static func labels(_ graph: Graph, batch: Int) -> Value {
        graph.input(labelsName, TensorType([batch], .int32), filledBy: .loader)
    }
}
