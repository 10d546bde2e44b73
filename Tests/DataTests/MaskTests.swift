import Glibc
import MRPData
import MRPEngine
import TestSupport
import Testing

/// Folders and arrays with masks, and generated scenes.
@Suite struct MaskTests {
    private static let folder = String(#filePath.dropLast("DataTests/MaskTests.swift".count)) + "fixtures/dense/voc"
    private static let names = ["colours", "gray16", "gray8", "palette4", "palette8", "unlabelled"]

    private func open(_ change: (inout MaskFolder.Settings) -> Void = { _ in }) throws -> ImageDataset {
        var settings = MaskFolder.Settings()
        change(&settings)
        return try MaskFolder.open(FilePath(Self.folder), settings)
    }

    private func ids(_ dataset: ImageDataset, _ index: Int) throws -> [Int32] {
        let workspace = ImageWorkspace()
        try dataset.load(index, into: workspace)
        try dataset.loadTarget(index, into: workspace)
        let view = try #require(workspace.target)
        return (0..<view.size.height * view.size.width).map { place in
            let row = view.pixels + place / view.size.width * Int(view.row_bytes)
            let column = place % view.size.width
            switch view.type {
            case 0: return Int32(row.load(fromByteOffset: column, as: UInt8.self))
            case 1: return Int32(row.load(fromByteOffset: 2 * column, as: UInt16.self))
            default: return row.load(fromByteOffset: 4 * column, as: Int32.self)
            }
        }
    }

    private func expected(border: Int32?) -> [Int32] {
        (0..<48).map { (place: Int) -> Int32 in
            let (row, column) = (place / 8, place % 8)
            let id = Int32((2 * row + column) % 3)
            return column == 0 ? border ?? id : id
        }
    }

    @Test func numbersOfMasksAreKept() throws {
        let dataset = try open()
        #expect(dataset.count == 6 && dataset.classNames == ["background", "cat", "dog"] && dataset.hasTargets && dataset.labels == nil)
        #expect(try ids(dataset, 0) == expected(border: nil), "colours of labelmap.txt")
        #expect(try ids(dataset, 2) == expected(border: 255), "gray of 8 bits")
        #expect(try ids(dataset, 4) == expected(border: 255), "a palette of 8 bits")
        #expect(try ids(dataset, 5) == [Int32](repeating: 255, count: 48), "an image without a mask")
        #expect(try ids(open { $0.ignored = 7 }, 3) == expected(border: 7), "a palette of 4 bits")
        #expect(try dataset.size(of: 3) == ImageSize(height: 6, width: 8))
    }

    @Test func idsBeyondTheClassesNameFileAndNumber() throws {
        expectError(.format, "gray16.png: pixel (5, 7) has the id 300, outside the classes 0 ..< 3") { _ = try ids(open(), 1) }
        expectError(.format, "palette4.png: pixel (0, 0) has the id 7") { _ = try ids(open(), 3) }
        expectError(.argument, "classes is 5, labelmap.txt names 3") { _ = try open { $0.classes = 5 } }
    }

    @Test func splitsNameImages() throws {
        let part = try open { $0.split = "train" }
        #expect((0..<3).map { part.name(of: $0).split(separator: "/").last } == ["palette8.png", "unlabelled.png", "colours.png"])
        #expect(try ids(part, 0) == expected(border: 255))
        expectError(.format, "names 'missing'") { _ = try open { $0.split = "wrong" } }
        expectError(.io, "nowhere.txt") { _ = try open { $0.split = "nowhere" } }
        expectError(.argument, "split 'a/b'") { _ = try open { $0.split = "a/b" } }
    }

    private func bytes(_ name: String) throws -> [UInt8] {
        let file = try #require(fopen(Self.folder + "/" + name, "rb"), "\(name)")
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = fread(&bytes, 1, bytes.count, file)
        return Array(bytes[..<count])
    }

    /// A copy of some files, for folders that lack something.
    private func copy(_ files: [(from: String, to: String)]) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        for (from, to) in files {
            try folder.write(to, bytes(from))
        }
        return folder
    }

    @Test func foldersWithoutALabelMap() throws {
        func open(_ folder: TemporaryFolder, _ change: (inout MaskFolder.Settings) -> Void = { _ in }) throws -> ImageDataset {
            var settings = MaskFolder.Settings()
            change(&settings)
            return try MaskFolder.open(FilePath(folder.path), settings)
        }
        let images = (from: "JPEGImages/gray8.png", to: "images/a.png")
        let plain = try copy([images, ("SegmentationClass/gray8.png", "masks/a.png")])
        #expect(try open(plain).classNames == ["0", "1", "2"])
        #expect(try open(plain) { $0.classes = 9 }.classCount == 9)
        expectError(.format, "id 2, outside the classes 0 ..< 2") { _ = try ids(open(plain) { $0.classes = 2 }, 0) }
        expectError(.format, "for which no labelmap.txt names classes") {
            _ = try open(copy([images, ("SegmentationClass/colours.png", "masks/a.png")]))
        }
        expectError(.format, "no folder SegmentationClass or masks") { _ = try open(copy([images])) }
        expectError(.format, "none is called as an image") { _ = try open(copy([images, ("SegmentationClass/gray8.png", "masks/b.png")])) }
        let mask = "SegmentationClass/gray8.png"
        let sizes = try copy([images, (mask, "masks/a.png"), ("../../images/rgb.png", "images/b.png"), (mask, "masks/b.png")])
        expectError(.format, "b.png: the mask is 6 x 8, its image") { _ = try ids(open(sizes), 1) }
        let binary = try copy([images, ("SegmentationClass/binary.png", "masks/a.png")])
        expectError(.argument, "no id but 0 and 255") { _ = try open(binary) }
        #expect(try open(binary) { $0.ignored = -1 }.classCount == 256)
    }

    @Test func arraysOfMasks() throws {
        let images = try patterned(2)
        let size = ImageSize(height: 8, width: 8)
        var masks = [UInt16](repeating: 0, count: 128)
        (masks[3], masks[70]) = (4, 255)
        let dataset = try MaskedDataset(images, masks: masks, type: .uint16, count: 2, size: size, fill: 255)
        #expect(dataset.classNames == ["0", "1", "2", "3", "4"] && !dataset.hasClassNames && dataset.ignoredId == 255)
        #expect(try NamedClassesDataset(dataset, names: ["a", "b", "c", "d", "e"]).ignoredId == 255)
        #expect(try SubsetDataset(dataset, indices: [1]).ignoredId == 255)
        expectError(.argument, "the mask of image 1 holds the id 255, outside the classes 0 ..< 5 and not the ignored 9") {
            _ = try MaskedDataset(images, masks: masks, type: .uint16, count: 2, size: size, fill: 9, classes: 5)
        }
        expectError(.argument, "ignore_label -1 is outside 0 ... 65535") {
            _ = try MaskedDataset(images, masks: masks, type: .uint16, count: 2, size: size, fill: -1)
        }
        let signed = [Int32](repeating: -2, count: 128)
        expectError(.argument, "holds the id -2") {
            _ = try MaskedDataset(images, masks: signed, type: .int32, count: 2, size: size, fill: -1)
        }
        #expect(try MaskedDataset(images, masks: signed, type: .int32, count: 2, size: size, fill: -2).classNames == ["0"])
    }

    @Test func scenesAreTheSameWhereverTheSetBegins() throws {
        let size = ImageSize(height: 24, width: 40)
        let scenes = try SceneDataset(count: 6, size: size, seed: 4)
        let later = try SceneDataset(count: 2, size: size, seed: 4, firstImage: 4)
        #expect(try ids(scenes, 5) == ids(later, 1))
        #expect(try ids(scenes, 0) != ids(SceneDataset(count: 1, size: size, seed: 5), 0))
        let workspace = ImageWorkspace()
        try scenes.load(5, into: workspace)
        let image = values(workspace.image)
        try later.load(1, into: workspace)
        #expect(image == values(workspace.image))
        let ofObjects = try SceneDataset(count: 6, size: size, kind: .objects, seed: 4)
        #expect(ofObjects.classNames == ["ground", "object"] && ofObjects.maskKind == .objects && scenes.maskKind == .classes)
        var classes: Set<Int32> = []
        for index in 0..<6 {
            let own = try ids(scenes, index), objects = try ids(ofObjects, index)
            classes.formUnion(own)
            // Ground is where no object is; an object has one class.
            var shapes: [Int32: Int32] = [:]
            for (id, object) in zip(own, objects) {
                #expect((id == 0) == (object == 0))
                #expect(shapes[object] == nil || shapes[object] == id)
                shapes[object] = id
            }
            #expect(objects.max().map { $0 >= 3 && $0 <= 6 } == true)
        }
        #expect(classes.isSubset(of: Set(0..<7)) && classes.count >= 4)
        expectError(.argument, "height 15 is outside 16") { _ = try SceneDataset(count: 1, size: ImageSize(height: 15, width: 20)) }
    }

    /// Objects have ids of their own, any number; the palette of VOC says which in colours.
    @Test func masksOfObjects() throws {
        let size = ImageSize(height: 2, width: 3)
        let images = try ArrayDataset(
            pixels: [UInt8](repeating: 0, count: 18), type: .uint8, layout: .channelsLast, count: 1, channels: 3, size: size)
        let numbers: [Int32] = [0, 7, 65_535, 255, 7, 0]
        let masked = try MaskedDataset(images, masks: numbers, type: .int32, count: 1, size: size, kind: .objects, fill: 255, classes: 2)
        #expect(try ids(masked, 0) == numbers)
        #expect(masked.classNames == ["ground", "object"] && masked.maskKind == .objects)
        #expect(try SubsetDataset(masked, indices: [0] as [Int]).maskKind == .objects)
        expectError(.argument, "outside 0 ..< 65536") {
            _ = try MaskedDataset(images, masks: [65_536, 0, 0, 0, 0, 0] as [Int32], type: .int32, count: 1, size: size, kind: .objects)
        }
        expectError(.argument, "task x needs masks of classes, these are of objects: set mask_kind") {
            try masked.requireMasks(.classes, for: "task x")
        }
        let folder = try TemporaryFolder()
        for name in ["gray16", "palette8"] {
            for (own, theirs) in [("JPEGImages", "JPEGImages"), ("SegmentationObject", "SegmentationClass")] {
                try folder.write("\(own)/\(name).png", bytes("\(theirs)/\(name).png"))
            }
        }
        var settings = MaskFolder.Settings()
        settings.kind = .objects
        let dataset = try MaskFolder.open(FilePath(folder.path), settings)
        #expect(dataset.classNames == ["ground", "object"] && dataset.count == 2)
        // gray16, whose last id is 300: no class, but an object
        #expect(try ids(dataset, 0).last == 300)
        #expect(try ids(dataset, 1)[..<4] == [255, 1, 2, 0])
        expectError(.format, "no folder SegmentationObject or objects") { _ = try open { $0.kind = .objects } }
    }

    /// A mask moves with its image through a loader, and comes only where it is wanted.
    @Test func loadersBringMasksOnDemand() throws {
        let scenes = try SceneDataset(count: 4, seed: 1)
        var options = LoaderOptions(batchSize: 4, threads: 0)
        let size = ImageSize(height: 20, width: 20)
        let normalization = Normalization.identity(channels: 3)
        let augmentation = Augmentation.randomResizedCropFlip(size: size)
        let with = try take(BatchLoader(scenes, augmentation: augmentation, normalization: normalization, options: options), 1)
        #expect(with[0].targets.count == 1_600)
        options.targets = false
        let without = try take(BatchLoader(scenes, augmentation: augmentation, normalization: normalization, options: options), 1)
        #expect(without[0].targets.isEmpty && without[0].images == with[0].images)
    }

    @Test func factorsMakeTheWeightedMean() {
        let ids: [Int32] = [0, 2, 255, 1, 2, 7]
        var (labels, factors, presence) = (
            [Int32](repeating: 9, count: 6), [Float](repeating: 9, count: 6), [Float](repeating: 9, count: 6)
        )
        ids.withUnsafeBufferPointer { ids in
            labels.withUnsafeMutableBufferPointer { labels in
                factors.withUnsafeMutableBufferPointer { factors in
                    let sum = PixelTargets.fill(
                        labels: labels, factors: factors, from: ids, classes: 3, ignored: 255, weights: [1, 2, 0.5])
                    #expect(sum == 4)
                }
            }
            presence.withUnsafeMutableBufferPointer { PixelTargets.fill(presence: $0, from: ids, classes: 3, ignored: 255) }
        }
        #expect(labels == [0, 2, 0, 1, 2, 0])
        #expect(factors == [1.5, 0.75, 0, 3, 0.75, 0])
        #expect(presence == [1, 1, 0, 1, 1, 0])
        [Int32](repeating: 255, count: 6).withUnsafeBufferPointer { ids in
            labels.withUnsafeMutableBufferPointer { labels in
                factors.withUnsafeMutableBufferPointer {
                    PixelTargets.fill(labels: labels, factors: $0, from: ids, classes: 3, ignored: 255, weights: [])
                }
            }
        }
        #expect(factors == [Float](repeating: 0, count: 6))
    }
}
