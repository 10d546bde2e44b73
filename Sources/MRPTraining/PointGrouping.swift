import CMRPPoints
import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// The way of point clouds to an encoder of groups, as the options say: changed at random in a phase of training, without chance else.
struct PointGrouping {
    let augmentation: Augmentation

    init(_ groups: PointGroups, _ options: Options, _ phase: Phase?) throws {
        let change = try phase.map { phase in
            let (low, high) = (options[PointDataOptions.pointScaleMin, phase], options[PointDataOptions.pointScaleMax, phase])
            guard low <= high else { throw MRPError(.argument, "point_scale_min \(low) is above point_scale_max \(high)") }
            return mp_change(
                turn: Self.turn(options[PointDataOptions.pointRotation, phase]), up_axis: Self.axis(options[PointDataOptions.upAxis]),
                scale_low: low, scale_high: high, shift: options[PointDataOptions.pointShift, phase],
                jitter: options[PointDataOptions.pointJitter, phase])
        }
        augmentation = Augmentation([
            try GroupPoints(points: options[PointDataOptions.points], groups: groups.count, groupSize: groups.size, change: change)
        ])
    }

    private static func turn(_ rotation: PointRotation) -> Int32 {
        switch rotation {
        case .none: 0
        case .upright: 1
        case .any: 2
        }
    }

    private static func axis(_ axis: UpAxis) -> Int32 {
        switch axis {
        case .x: 0
        case .y: 1
        case .z: 2
        }
    }
}
