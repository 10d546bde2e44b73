import MRPData
import MRPEngine
import MRPModels
import MRPOptions

extension InstanceSegmentation {
    public static let gridStride = Option(
        "grid_stride", .integer(InstanceHead.strides), auto: "4 below 64 pixels, else 8", section: .objective,
        "Task instances: pixels of the side of a cell, each of which finds one object at most; of the feature pyramid's maps the nearest is taken."
    )
    public static let maskChannels = Option(
        "mask_channels", .integer(InstanceHead.channels), auto: "16 below 64 pixels, else 64", section: .objective,
        "Task instances: features of a place by which masks are told apart.")
    public static let positiveCellsOption = Option(
        "positive_cells", .integer(1...65_536), auto: "all cells, at most 256", section: .objective,
        "Task instances: cells of an image that learn a mask, at most; an image with more is an error.")
    public static let foreground = Option(
        "foreground", .flag, auto: "with consistency", section: .objective,
        "Task instances: whether a branch learns which pixels belong to any object.")
    public static let consistencyOption = Option(
        "consistency", .number(0...1_000), default: 0, section: .objective,
        "Task instances: weight of the loss by which foreground and instances agree, which needs no annotation (after Xue et al. 2022; docs/dense.md); 0: none."
    )
    public static let consistencyWarmup = Option(
        "consistency_warmup", .number(0...1), default: 0.2, section: .objective,
        "Task instances: share of the run before that loss enters, and again until it has its full weight.")
    public static let consistencyWith = Option(
        "consistency_with", .choice(Partner.self), default: .own, section: .objective,
        "Task instances: the foreground that instances are to agree with: own, their image's; other, that of another image of the batch, a control that must not help."
    )

    private static func head(_ request: HeadRequest) throws -> InstanceHead {
        let (options, geometry) = (request.options, request.encoder.geometry)
        let isSmall = min(geometry.height, geometry.width) < 64
        let hasForeground = options[foreground] ?? (options[consistencyOption] > 0)
        guard hasForeground || options[consistencyOption] == 0 else {
            throw MRPError(.argument, "consistency \(options[consistencyOption]) needs a foreground: leave foreground auto")
        }
        return try InstanceHead(
            pyramid: FeaturePyramid(width: request.pyramidWidth),
            gridStride: options[gridStride] ?? (isSmall ? 4 : 8), maskChannels: options[maskChannels] ?? (isSmall ? 16 : 64),
            hasForeground: hasForeground)
    }

    public static let descriptor = HeadDescriptor(
        InstanceHead.name, "a mask for each object, whatever its class, from masks of objects",
        options: [
            gridStride, maskChannels, positiveCellsOption, foreground, consistencyOption, consistencyWarmup, consistencyWith,
        ], names: InstanceHead.names,
        make: { request in
            try request.dataset.requireMasks(.objects, for: "task \(InstanceHead.name)")
            return try head(request)
        },
        objective: { head, request in
            guard let head = head as? InstanceHead else { throw MRPError(.internalError, "a head of another task") }
            let options = request.options
            guard BatchMixing(options) == nil else {
                throw MRPError(.unsupported, "task instances mixes no images: set mixup and cutmix to 0")
            }
            guard options[Classification.viewCount] == 1 else {
                throw MRPError(.unsupported, "task instances takes one view of each image, views is \(options[Classification.viewCount])")
            }
            if let kind = options[DataOptions.augmentation, .finetune], kind.keepsScale {
                throw MRPError(
                    .unsupported,
                    "augmentation \(kind.rawValue) keeps the images' scale, but task instances finds objects in images that are resized to the network's size"
                )
            }
            var result = try InstanceSegmentation(request.encoder, head, ignored: request.dataset.ignoredId)
            result.positiveCells = options[positiveCellsOption]
            (result.consistency, result.warmup) = (options[consistencyOption], options[consistencyWarmup])
            (result.partner, result.frozenEncoder) = (options[consistencyWith], options[Classification.frozenEncoder])
            return result
        },
        read: { file in
            guard let width = file.settings["pyramid_width"]?.integer, let stride = file.settings["grid_stride"]?.integer,
                let channels = file.settings["mask_channels"]?.integer
            else {
                throw MRPError(.format, "the configuration of a network of instances needs pyramid_width, grid_stride and mask_channels")
            }
            return try InstanceHead(
                pyramid: FeaturePyramid(width: width), gridStride: stride, maskChannels: channels,
                hasForeground: file.settings["foreground"]?.bool ?? false)
        })
}
