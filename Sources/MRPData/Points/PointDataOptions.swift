import MRPOptions

/// Options of point clouds: what is read of a file, and what happens to a cloud on its way to the network.
public enum PointDataOptions {
    public static let points = Option(
        "points", .integer(1...65_536), default: 1024, section: .data,
        "Points of a cloud that the network sees: training draws them anew for each epoch, evaluation takes those that are farthest from each other. A cloud with fewer gives some twice."
    )
    public static let pointFeatures = Option(
        "point_features", .integer(0...61), default: 0, section: .data,
        "Values that are read of each point of a file beside x, y, z, such as normals or colours.")
    public static let faceSamples = Option(
        "face_samples", .integer(1...(1 << 24)), default: 8192, section: .data,
        "Points that are drawn on the faces of a mesh (PLY and OFF files with faces), evenly by area.")
    public static let pointScaleMin = Option(
        "point_scale_min", .number(0.01...100), default: 2.0 / 3, section: .data,
        "Smallest factor by which training scales a cloud along each axis (Pang et al. 2022)."
    ).perPhase
    public static let pointScaleMax = Option(
        "point_scale_max", .number(0.01...100), default: 1.5, section: .data,
        "Largest factor by which training scales a cloud along each axis."
    ).perPhase
    public static let pointShift = Option(
        "point_shift", .number(0...100), default: 0.2, section: .data,
        "Largest way that training moves a cloud along each axis; clouds lie in the unit ball before."
    ).perPhase
    public static let pointRotation = Option(
        "point_rotation", .choice(PointRotation.self), default: .none, section: .data,
        "Turns of clouds in training: none; upright, about the axis up_axis by any angle; any, by any rotation. Features are not turned."
    ).perPhase
    public static let pointJitter = Option(
        "point_jitter", .number(0...1), default: 0, section: .data,
        "Deviation of the noise that training adds to each coordinate."
    ).perPhase
    public static let upAxis = Option(
        "up_axis", .choice(UpAxis.self), default: .z, section: .data,
        "The axis that points upwards: z in most scans, y in ModelNet's aligned files.")

    public static let all: [any OptionDeclaration] = [
        points, pointFeatures, faceSamples, pointScaleMin, pointScaleMax, pointShift, pointRotation, pointJitter, upAxis,
    ]
}

/// Random turns of a cloud.
public enum PointRotation: String, CaseIterable, Sendable {
    case none, upright, any
}

public enum UpAxis: String, CaseIterable, Sendable {
    case x, y, z
}
