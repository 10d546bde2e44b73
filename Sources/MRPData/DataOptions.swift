import MRPOptions

/// Options of datasets, augmentation and the loader.
public enum DataOptions {
    private static let share = OptionType.number(0...1)

    // MARK: Crop, flip and normalisation

    public static let augmentation = Option(
        "augmentation", .choice(Augmentation.Kind.self),
        auto: "pad_crop_flip when the images have the network's size, else random_resized_crop_flip", section: .data,
        "What is done to each training image. Those with flip mirror half of them left and right, as torchvision and timm do; text, digits, faces to one side and the like need one without. random_crop takes parts of the network's size at the images' own scale."
    ).perPhase
    public static let cropPadding = Option(
        "crop_padding", .integer(0...4_096), default: 4, section: .data, "Pixels of reflected border before a pad_crop_flip crop."
    ).perPhase
    public static let cropScaleMin = Option(
        "crop_scale_min", .number(0.01...1), default: 0.2, section: .data,
        "Smallest share of the image's area in a random resized crop."
    ).perPhase
    public static let cropScaleMax = Option(
        "crop_scale_max", .number(0.01...1), default: 1, section: .data, "Largest share of the image's area in a random resized crop."
    ).perPhase
    public static let mean = Option(
        "mean", .numbers, auto: "measured on the data of the first training", section: .data,
        "Mean of each channel, integers as fractions of their range.")
    public static let std = Option(
        "std", .numbers, auto: "measured on the data of the first training", section: .data, "Standard deviation of each channel.")

    public static let evaluationCrop = Option(
        "evaluation_crop", .number(0.05...1), default: 0.875, section: .data,
        "Part of the image's sides that evaluation sees: images of another size than the network's are resized until the network's size is this part of the shorter side, then cropped at the centre (torchvision and timm: 0.875). 1: all of a square image. Images of the network's size are never cropped."
    )
    public static let pixelCheck = Option(
        "pixel_check", .choice(PixelCheck.self), default: .refuse, section: .data,
        "What happens to images whose range of values cannot be that of the images that the model was trained on, such as floats 0 ... 255 where it was uint8: refuse, warn in the log, or ignore. Doubtful ranges are a warning with refuse too."
    )

    // MARK: Folders and generated images

    public static let cacheBytes = Option(
        "cache_bytes", .integer(0...(1 << 40)), default: 512 << 20, section: .data,
        "Decoded images of a folder are kept in memory up to this many bytes.")
    public static let decodeBytes = Option(
        "decode_bytes", .integer((1 << 20)...(1 << 40)), default: DecodeBudget.defaultBytes, section: .data,
        "Memory that decoding the images of a folder may take at a time, all threads together; an image that needs more is refused.")
    public static let decodeSeconds = Option(
        "decode_seconds", .number(0.001...86_400), default: DecodeBudget.defaultSeconds, section: .data,
        "Processor time that decoding an image of a folder may take; one that takes more is refused.")
    public static let folderLayout = Option(
        "folder_layout", .choice(ImageFolderDataset.Layout.self), default: .automatic, section: .data,
        "What the folders in an image folder are: classes, each with its images (images beside them are left out); tree, classes at any depth, named by the folders on the way: cat/persian; flat, nothing: only the images beside them are used; auto: classes, a tree where the folders hold folders and no images, and an error for a mixture."
    )
    public static let exifOrientation = Option(
        "exif_orientation", .flag, default: true, section: .data,
        "Whether photographs of a folder are turned upright as EXIF says in JPEG files.")
    public static let syntheticClasses = Option(
        "synthetic_classes", .integer(2...1_000), default: 10, section: .data, "Classes of the generated images.")
    public static let syntheticSingleView = Option(
        "synthetic_single_view", share, default: 0.5, section: .data,
        "Share of generated images that show only one of their class's two parts.")
    public static let syntheticFirstImage = Option(
        "synthetic_first_image", .integer(0...(1 << 40)), default: 0, section: .data,
        "Where the generated set begins in its endless sequence: sets that do not overlap share classes but no image.")

    // MARK: Masks

    public static let maskKind = Option(
        "mask_kind", .choice(MaskKind.self), default: .classes, section: .data,
        "What the ids of masks stand for: classes, or objects, for task instances: 0 is the ground, each other id of an image is one of its objects, whatever it is. Folders have objects in SegmentationObject."
    )
    public static let ignoreLabel = Option(
        "ignore_label", .integer(-1...65_535), default: 255, section: .data,
        "Id of the pixels of a mask that belong to no class: they are neither learned nor measured. -1: there are none such.")
    public static let split = Option(
        "split", .text, default: "", section: .data,
        "Part of a folder with masks, by its file in ImageSets/Segmentation: train for train.txt; empty: all images.")

    // MARK: Changes of the pixels

    public static let randAugment = Option(
        "rand_augment", .text, default: "", section: .data,
        "RandAugment (Cubuk et al. 2020) in timm's notation, such as m9-mstd0.5-inc1, or a magnitude alone, which means that with it; empty: none. 8-bit images of 1 or 3 channels."
    ).perPhase
    public static let colorJitter = Option(
        "color_jitter", .number(0...10), default: 0, section: .data,
        "Strength of random changes of brightness, contrast and saturation; 0: none. 8-bit images of 1 or 3 channels."
    ).perPhase
    public static let hueJitter = Option(
        "hue_jitter", .number(0...0.5), default: 0, section: .data,
        "Largest random change of the hue, in turns, as a part of color_jitter's random order; 0: none. 8-bit images of 3 channels."
    ).perPhase
    public static let grayscale = Option(
        "grayscale", share, auto: "0, in the views of a contrastive loss 0.2", section: .data,
        "How often an image loses its colours. 8-bit images of 1 or 3 channels, as blur and solarize."
    ).perPhase
    public static let blur = Option(
        "blur", .numbers, auto: "0, in the views of objective montage from 64 pixels on 1,0.1", section: .data,
        "How often an image is blurred, by a Gaussian of 0.1 to 2 pixels; two numbers: in the views of each of the two sides of a contrastive objective."
    ).perPhase
    public static let solarize = Option(
        "solarize", .numbers, auto: "0, in the views of objective montage from 64 pixels on 0,0.2", section: .data,
        "How often the bright values of an image, from 128 on, are inverted; two numbers as with blur."
    ).perPhase
    public static let randomErasing = Option(
        "random_erasing", share, default: 0, section: .data, "How often a rectangle of an image is erased (Zhong et al. 2020)."
    ).perPhase
    public static let erasingMode = Option(
        "erasing_mode", .choice(RandomErasing.Mode.self), default: .pixel, section: .data,
        "What fills the rectangle: pixel, random numbers; const, the mean colour."
    ).perPhase

    public static let viewAugmentation = Option(
        "view_augmentation", .choice(ViewAugmentation.self), auto: "contrastive for 8-bit images of 3 channels, else same", section: .data,
        "What is done to the views of a contrastive loss (proco, montage): contrastive, a random resized crop, a mirror where training has one, color_jitter 0.4 with hue_jitter 0.1 for 80 %, gray for 20 % (Chen et al. 2020; Du et al. 2024), blur and solarize as their options say; same, what training does to its images."
    )

    // MARK: Mixed images

    public static let mixup = Option(
        "mixup", .number(0...100), default: 0, section: .data,
        "Fine-tuning mixes pairs of images with shares from Beta(mixup, mixup) (Zhang et al. 2018); 0: not.")
    public static let cutmix = Option(
        "cutmix", .number(0...100), default: 0, section: .data,
        "Fine-tuning pastes boxes of one image into another, the share from Beta(cutmix, cutmix) (Yun et al. 2019); 0: not.")
    public static let mixProbability = Option(
        "mix_probability", share, default: 1, section: .data, "How often a batch is mixed at all.")
    public static let mixSwitchProbability = Option(
        "mix_switch_probability", share, default: 0.5, section: .data, "How often cutmix is taken where mixup is on too.")

    // MARK: The loader

    public static let unreadableImages = Option(
        "unreadable_images", .choice(UnreadableImages.self), default: .refuse, section: .data,
        "What happens to an image that cannot be read or decoded: refuse stops with its name; skip names it in the log, and training takes the next image, evaluation leaves it out, features and predictions are NaN in its row."
    )
    public static var sampler: Option<String> {
        let list = Samplers.registry.all.map { "\($0.name), \($0.summary)" }
        return Option(
            "sampler", .name(among: Samplers.registry.names), default: ShuffledSampler.descriptor.name, section: .data,
            "Order of the training images in an epoch: \(list.joined(separator: "; ")).")
    }
    public static let loaderThreads = Option(
        "loader_threads", .integer(0...256), default: 1, section: .run,
        "Background threads that prepare images. Results do not depend on it.")

    public static let images: [any OptionDeclaration] =
        [
            augmentation, cropPadding, cropScaleMin, cropScaleMax, evaluationCrop, mean, std, pixelCheck, cacheBytes, decodeBytes,
            decodeSeconds, folderLayout, exifOrientation,
        ] + masks + generated + PointDataOptions.all
    /// Options by which a folder with masks, or an array of masks, is read.
    public static let masks: [any OptionDeclaration] = [maskKind, ignoreLabel, split]
    /// What generated datasets are made by.
    public static let generated: [any OptionDeclaration] = [syntheticClasses, syntheticSingleView, syntheticFirstImage]
    /// What fine-tuning mixes images by.
    public static let mixing: [any OptionDeclaration] = [mixup, cutmix, mixProbability, mixSwitchProbability]
    public static var pixels: [any OptionDeclaration] {
        [
            randAugment, colorJitter, hueJitter, grayscale, blur, solarize, randomErasing, erasingMode, viewAugmentation,
        ] + mixing + [unreadableImages, sampler] + Samplers.registry.all.flatMap(\.options)
    }
}

/// Augmentation of the views of a contrastive loss.
public enum ViewAugmentation: String, CaseIterable, Sendable {
    case contrastive, same
}

/// Answer of training to an image that cannot be read or decoded: an error, or the next image.
public enum UnreadableImages: String, CaseIterable, Sendable {
    case refuse, skip
}

/// Answer to images in other units than those of the training.
public enum PixelCheck: String, CaseIterable, Sendable {
    case refuse, warn, ignore
}

extension Augmentation {
    /// Crops and flips by name.
    public enum Kind: String, CaseIterable, Sendable {
        case none, flip
        case padCropFlip = "pad_crop_flip"
        case randomResizedCropFlip = "random_resized_crop_flip"
        case padCrop = "pad_crop"
        case randomResizedCrop = "random_resized_crop"
        case randomCropFlip = "random_crop_flip"
        case randomCrop = "random_crop"

        /// True when half of the images are mirrored left and right.
        public var isMirrored: Bool { [.flip, .padCropFlip, .randomResizedCropFlip, .randomCropFlip].contains(self) }

        /// True when the network sees parts of the images at their own scale.
        public var keepsScale: Bool { self == .randomCropFlip || self == .randomCrop }
    }
}
