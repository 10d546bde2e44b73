import MRPData
import MRPEngine
import Testing

/// Pixel masks that move with their images. Pixel (y, x) of a mask is x + y W, and of its image too, so that both must stay equal.
@Suite struct TargetTests {
    private static let size = ImageSize(height: 23, width: 31)

    private func coordinates<Value: BinaryInteger>(_ size: ImageSize = size, _: Value.Type) -> [Value] {
        (0..<size.height * size.width).map { Value(truncatingIfNeeded: $0) }
    }

    /// Image i and mask i hold the coordinates; the image as uint16.
    private func dataset(_ count: Int = 1, _ size: ImageSize = size) throws -> MaskedDataset {
        let ids = (0..<count).flatMap { _ in coordinates(size, UInt16.self) }
        let images = try ArrayDataset(pixels: ids, type: .uint16, layout: .channelsLast, count: count, channels: 1, size: size)
        return try MaskedDataset(images, masks: ids, type: .uint16, count: count, size: size)
    }

    private func show(_ dataset: ImageDataset, _ workspace: ImageWorkspace) throws {
        try dataset.load(0, into: workspace)
        try dataset.loadTarget(0, into: workspace)
    }

    private func ids(_ workspace: ImageWorkspace) throws -> [Int] {
        let view = try #require(workspace.target)
        return (0..<Int(view.height)).flatMap { y in
            (0..<Int(view.width)).map { x in
                let row = view.pixels + y * Int(view.row_bytes)
                switch view.type {
                case 0: return Int(row.load(fromByteOffset: x, as: UInt8.self))
                case 1: return Int(row.load(fromByteOffset: 2 * x, as: UInt16.self))
                default: return Int(row.load(fromByteOffset: 4 * x, as: Int32.self))
                }
            }
        }
    }

    private static let steps: [any AugmentationStep] = [
        PadCrop(padding: 5), HorizontalFlip(), CenterCrop(size: ImageSize(height: 12, width: 20)),
        RandomResizedCrop(size: ImageSize(height: 19, width: 13), .nearest), Resize(size: ImageSize(height: 40, width: 18), .nearest),
        ResizeToCover(ImageSize(height: 12, width: 14), .nearest),
    ]

    @Test(arguments: 0..<7) func everyGeometricStepMovesBoth(step: Int) throws {
        let augmentation = Augmentation(step < 6 ? [Self.steps[step]] : Self.steps)
        let (dataset, workspace) = (try dataset(), ImageWorkspace())
        var seen: Set<[Int]> = []
        for epoch in 0..<40 {
            try show(dataset, workspace)
            try augmentation.apply(workspace, seed: 3, epoch: epoch, sample: 0)
            let moved = try ids(workspace)
            #expect(moved == values(workspace.image).map { Int($0) })
            #expect(workspace.target?.size == workspace.image.size)
            seen.insert(moved)
        }
        #expect(seen.count >= (step == 1 ? 2 : [2, 4, 5].contains(step) ? 1 : 20))
    }

    @Test(arguments: TargetType.allCases) func flipsCropsAndResizesAreTheFormula(type: TargetType) throws {
        let (height, width) = (7, 9)
        let size = ImageSize(height: height, width: width)
        let images = try ArrayDataset(
            pixels: [UInt8](repeating: 1, count: 63), type: .uint8, layout: .channelsLast, count: 1, channels: 1, size: size)
        let dataset: MaskedDataset
        switch type {
        case .uint8: dataset = try MaskedDataset(images, masks: coordinates(size, UInt8.self), type: type, count: 1, size: size)
        case .uint16: dataset = try MaskedDataset(images, masks: coordinates(size, UInt16.self), type: type, count: 1, size: size)
        case .int32: dataset = try MaskedDataset(images, masks: coordinates(size, Int32.self), type: type, count: 1, size: size)
        }
        let workspace = ImageWorkspace()
        func moved(_ body: (ImageWorkspace) throws -> Void) throws -> [Int] {
            try show(dataset, workspace)
            try body(workspace)
            return try ids(workspace)
        }
        func formula(_ size: ImageSize, _ from: (_ y: Int, _ x: Int) -> (Int, Int)) -> [Int] {
            (0..<size.height).flatMap { y in
                (0..<size.width).map { x in
                    let (sy, sx) = from(y, x)
                    return sx + sy * width
                }
            }
        }
        #expect(try moved { try $0.flipHorizontally() } == formula(size) { ($0, width - 1 - $1) })
        let part = ImageSize(height: 3, width: 4)
        #expect(try moved { try $0.crop(top: 2, left: 5, part) } == formula(part) { ($0 + 2, $1 + 5) })
        func mirrored(_ i: Int, _ count: Int) -> Int { abs(i) < count ? abs(i) : 2 * (count - 1) - i }
        #expect(
            try moved { try $0.cropReflected(top: -3, left: 4, size) }
                == formula(size) { (mirrored($0 - 3, height), mirrored($1 + 4, width)) })
        // The sides are odd: no centre lies between two pixels.
        for target in [ImageSize(height: 3, width: 4), ImageSize(height: 20, width: 33), ImageSize(height: 7, width: 2)] {
            for resampling in Resampling.allCases {
                #expect(
                    try moved { try $0.resize(to: target, resampling) }
                        == formula(target) { ((2 * $0 + 1) * height / (2 * target.height), (2 * $1 + 1) * width / (2 * target.width)) })
            }
        }
    }

    @Test func affineMapsAreTheFormula() throws {
        let (height, width) = (15, 21)
        let size = ImageSize(height: height, width: width)
        // Channels: column, row, column; the mask's ids say the same.
        let pixels = (0..<height * width).flatMap { [UInt8($0 % width), UInt8($0 / width), UInt8($0 % width)] }
        let images = try ArrayDataset(pixels: pixels, type: .uint8, layout: .channelsLast, count: 1, channels: 3, size: size)
        let outside = 999
        let dataset = try MaskedDataset(
            images, masks: coordinates(size, UInt16.self), type: .uint16, count: 1, size: size, fill: Int32(outside))
        let workspace = ImageWorkspace()
        func moved(_ operation: PixelOperation) throws -> [Int] {
            try show(dataset, workspace)
            try operation.apply(workspace, fill: [200, 200, 200], "test")
            return try ids(workspace)
        }
        func formula(_ m: [Double]) -> [Int] {
            (0..<height * width).map { place in
                let (x, y) = (Double(place % width) + 0.5, Double(place / width) + 0.5)
                let (sx, sy) = ((m[0] * x + m[1] * y + m[2]).rounded(.down), (m[3] * x + m[4] * y + m[5]).rounded(.down))
                let isInside = sx >= 0 && sx < Double(width) && sy >= 0 && sy < Double(height)
                return isInside ? Int(sx) + Int(sy) * width : outside
            }
        }
        #expect(try moved(.shearX(0.3)) == formula([1, 0.3, 0, 0, 1, 0]))
        #expect(try moved(.shearY(-0.2)) == formula([1, 0, 0, -0.2, 1, 0]))
        #expect(try moved(.translateX(0.13)) == formula([1, 0, 0.13 * Double(width), 0, 1, 0]))
        #expect(try moved(.translateY(-0.4)) == formula([1, 0, 0, 0, 1, -0.4 * Double(height)]))
        #expect(try moved(.rotate(degrees: 180)) == (0..<height * width).reversed())
        // Whole pixels: image and mask say the same, and the same pixels come from outside.
        for operation in [PixelOperation.rotate(degrees: 90), .rotate(degrees: 180), .translateX(-2.0 / 7), .translateY(0.2)] {
            let found = try moved(operation)
            let image = values(workspace.image)
            for (place, id) in found.enumerated() {
                let expected = id == outside ? [200, 200] : [id % width, id / width]
                #expect(expected == [Int(image[3 * place]), Int(image[3 * place + 1])], "\(operation) at \(place)")
            }
        }
    }

    @Test func valuesChangeAndTheMaskStays() throws {
        let size = ImageSize(height: 8, width: 8)
        let images = try patterned(1)
        let dataset = try MaskedDataset(images, masks: coordinates(size, UInt8.self), type: .uint8, count: 1, size: size)
        let workspace = ImageWorkspace()
        for operation in [
            PixelOperation.autoContrast, .equalize, .invert, .posterize(bits: 2), .solarize(threshold: 90), .color(0.2), .contrast(1.7),
            .brightness(0.3), .sharpness(2), .hue(0.2),
        ] {
            try show(dataset, workspace)
            try operation.apply(workspace, fill: [], "test")
            #expect(try ids(workspace) == Array(0..<64))
        }
    }

    /// The image gets the same numbers with a mask as without, in every view.
    @Test(arguments: [0, 2]) func masksDoNotChangeImages(threads: Int) throws {
        let size = ImageSize(height: 8, width: 8)
        let images = try patterned(12)
        let dataset = try MaskedDataset(
            images, masks: (0..<12).flatMap { _ in coordinates(size, UInt8.self) }, type: .uint8, count: 12, size: size, fill: 255)
        let augmentation = Augmentation(
            [PadCrop(padding: 2), HorizontalFlip(), try RandAugment("9"), ColorJitter(strength: 0.4)],
            finishing: [RandomErasing(probability: 0.5)])
        var options = LoaderOptions(batchSize: 4, seed: 8, threads: threads)
        options.views = 2
        func batches(_ dataset: ImageDataset) throws -> [BatchCopy] {
            try take(BatchLoader(dataset, augmentation: augmentation, normalization: .identity(channels: 3), options: options), 6)
        }
        let (plain, masked) = (try batches(images), try batches(dataset))
        #expect(plain.map(\.images) == masked.map(\.images) && plain.allSatisfy { $0.targets.isEmpty })
        #expect(masked.allSatisfy { $0.targets.count == 4 * 2 * 64 })
        let views = masked.flatMap { batch in (0..<8).map { Array(batch.targets[$0 * 64..<($0 + 1) * 64]) } }
        #expect(Set(views).count > 40)
        let subset = try SubsetDataset(dataset, indices: [3, 1])
        let named = try NamedClassesDataset(subset, names: (0..<64).map { "class \($0)" })
        let batch = try #require(
            take(BatchLoader(named, normalization: .identity(channels: 3), options: .evaluation(batchSize: 2)), 1).first)
        #expect(batch.targets == (0..<128).map { Int32($0 % 64) })
    }

    @Test func idsOfAnyTypeReachTheBatch() throws {
        let size = ImageSize(height: 1, width: 3)
        let images = try ArrayDataset(
            pixels: [UInt8](repeating: 0, count: 6), type: .uint8, layout: .channelsLast, count: 2, channels: 1, size: size)
        func targets(_ masks: UnsafeRawPointer, _ type: TargetType) throws -> [Int32]? {
            let dataset = try MaskedDataset(images, masks: masks, type: type, count: 2, size: size)
            return try take(BatchLoader(dataset, normalization: .identity(channels: 1), options: .evaluation(batchSize: 2)), 1).first?
                .targets
        }
        #expect(try targets([0, 255, 7, 1, 2, 3] as [UInt8], .uint8) == [0, 255, 7, 1, 2, 3])
        #expect(try targets([0, 65535, 7, 1, 2, 3] as [UInt16], .uint16) == [0, 65535, 7, 1, 2, 3])
        #expect(try targets([0, 65535, 7, 1, 2, 3] as [Int32], .int32) == [0, 65535, 7, 1, 2, 3])
    }

    @Test func masksThatDoNotFitAreRefused() throws {
        let images = try patterned(5)
        let masks = [UInt8](repeating: 0, count: 5 * 64)
        let other = try MaskedDataset(images, masks: masks, type: .uint8, count: 5, size: ImageSize(height: 4, width: 6))
        expectError(.argument, "image 0: the pixel mask is 4 x 6, the image 8 x 8") {
            _ = try take(BatchLoader(other, normalization: .identity(channels: 3), options: .evaluation(batchSize: 2)), 1)
        }
        let workspace = ImageWorkspace()
        try show(other, workspace)
        expectError(.argument, "the pixel mask is 4 x 6, the image 8 x 8") { try workspace.flipHorizontally() }
        let size = ImageSize(height: 8, width: 8)
        expectError(.argument, "4 pixel masks were given for 5 images") {
            _ = try MaskedDataset(images, masks: masks, type: .uint8, count: 4, size: size)
        }
        expectError(.argument, "ignore_label 256 is outside 0 ... 255") {
            _ = try MaskedDataset(images, masks: masks, type: .uint8, count: 5, size: size, fill: 256)
        }
        expectError(.argument, "a crop of 8 x 8 at (1, 0) is not inside the image of 8 x 8") {
            let workspace = ImageWorkspace()
            try images.load(0, into: workspace)
            try workspace.crop(top: 1, left: 0, size)
        }
    }

    @Test func borrowedMasksAreGivenBack() throws {
        let masks = [UInt8](repeating: 3, count: 5 * 64)
        nonisolated(unsafe) var released = 0
        do {
            let dataset = try MaskedDataset(
                patterned(5), masks: masks, type: .uint8, count: 5, size: ImageSize(height: 8, width: 8), release: { released += 1 })
            #expect(dataset.hasTargets && released == 0)
        }
        #expect(released == 1)
    }
}
