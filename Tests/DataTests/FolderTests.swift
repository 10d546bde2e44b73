import Glibc
import MRPData
import MRPEngine
import TestSupport
import Testing

@Suite struct ImageFolderTests {
    @Test func classesAndFilesAreSortedByTheirBytes() throws {
        let folder = try TemporaryFolder()
        let jpeg = try Fixtures.bytes("colour.jpg"), png = try Fixtures.bytes("rgb.png")
        for name in ["b/2.jpg", "b/10.JPG", "B/x.jpeg", "B/.hidden.jpg", "B/notes.txt", "a/z.PNG", "\u{e9}/1.png"] {
            try folder.write(name, name.lowercased().hasSuffix("png") ? png : jpeg)
        }
        try folder.makeFolder(".git")
        try folder.makeFolder("a/deeper.jpg")
        let dataset = try ImageFolderDataset(folder.path)
        #expect(dataset.classNames == ["B", "a", "b", "\u{e9}"])
        let names = (0..<dataset.count).map { String(dataset.name(of: $0).dropFirst(folder.path.count + 1)) }
        #expect(names == ["B/x.jpeg", "a/z.PNG", "b/10.JPG", "b/2.jpg", "\u{e9}/1.png"])
        #expect(Array(dataset.labels!) == [0, 1, 2, 2, 3])
        #expect(dataset.channels == 3 && dataset.imageSize == ImageSize(height: 15, width: 21))
        let workspace = ImageWorkspace()
        try dataset.load(1, into: workspace)
        #expect(values(workspace.image) == Fixtures.values(try Fixtures.arrays()["rgb.png.raw"]!, .uint8))
    }

    @Test func flatFoldersHaveNoLabels() throws {
        let folder = try TemporaryFolder()
        try folder.write("2.png", try Fixtures.bytes("gray.png"))
        try folder.write("1.jpg", try Fixtures.bytes("gray.jpg"))
        let dataset = try ImageFolderDataset(folder.path + "/")
        #expect(dataset.labels == nil && dataset.classNames.isEmpty && dataset.count == 2 && dataset.channels == 1)
        #expect(dataset.name(of: 0) == folder.path + "/1.jpg")
        let colour = try ImageFolderDataset(folder.path, channels: 3)
        let workspace = ImageWorkspace()
        try colour.load(1, into: workspace)
        let gray = Fixtures.values(try Fixtures.arrays()["gray.png.raw"]!, .uint8)
        #expect(values(workspace.image) == gray.flatMap { [$0, $0, $0] })
        try folder.write("x/1.png", try Fixtures.bytes("rgb.png"))
        expectError(.argument, "has 2 images beside 1 folders") { _ = try ImageFolderDataset(folder.path) }
        #expect(try ImageFolderDataset(folder.path, layout: .flat).count == 2)
        #expect(try ImageFolderDataset(folder.path, layout: .classes).classNames == ["x"])
    }

    @Test func colourBecomesGrayAsPillowDoes() throws {
        let folder = try TemporaryFolder()
        try folder.write("1.png", try Fixtures.bytes("rgb.png"))
        let dataset = try ImageFolderDataset(folder.path, channels: 1)
        let workspace = ImageWorkspace()
        try dataset.load(0, into: workspace)
        let rgb = Fixtures.values(try Fixtures.arrays()["rgb.png.raw"]!, .uint8)
        for (i, gray) in values(workspace.image).enumerated() {
            let luma = rgb[3 * i] * 0.299 + rgb[3 * i + 1] * 0.587 + rgb[3 * i + 2] * 0.114
            #expect(abs(gray - luma) <= 0.51)
        }
    }

    @Test func whatIsWrongIsSaid() throws {
        let folder = try TemporaryFolder()
        expectError(.io, "cannot open the folder: No such file or directory") { _ = try ImageFolderDataset(folder.path + "/absent") }
        expectError(.format, "no .jpg, .jpeg, .jpe, .jfif or .png files") { _ = try ImageFolderDataset(folder.path) }
        expectError(.format, "no class folders") { _ = try ImageFolderDataset(folder.path, layout: .classes) }
        try folder.makeFolder("cats")
        expectError(.format, "\(folder.path)/cats: no .jpg, .jpeg, .jpe, .jfif or .png files") { _ = try ImageFolderDataset(folder.path) }
        try folder.write("cats/1.jpg", try Fixtures.bytes("text.jpg"))
        expectError(.format, "cats/1.jpg: neither JPEG nor PNG") { _ = try ImageFolderDataset(folder.path) }
        expectError(.io, "Not a directory") { _ = try ImageFolderDataset(folder.path + "/cats/1.jpg") }
        expectError(.argument, "channels 2 is neither 1 nor 3") { _ = try ImageFolderDataset(folder.path, channels: 2) }
        expectError(.argument, "cache_bytes -1") { _ = try ImageFolderDataset(folder.path, cacheBytes: -1) }
    }

    @Test(arguments: [0, 2]) func aBadFileSurfacesAtNextByName(threads: Int) throws {
        let folder = try TemporaryFolder()
        for i in 0..<6 { try folder.write("c/\(i).jpg", try Fixtures.bytes(i == 3 ? "truncated.jpg" : "colour.jpg")) }
        let dataset = try ImageFolderDataset(folder.path)
        let loader = try BatchLoader(
            dataset, normalization: .identity(channels: 3), options: .evaluation(batchSize: 2, threads: threads))
        #expect(try take(loader, 1).count == 1)
        expectError(.format, "c/3.jpg: JPEG: ") { _ = try loader.next() }
        #expect(try take(loader, 3).map(\.indices) == [[4, 5]])
    }

    @Test func differentSizesNeedAResize() throws {
        let folder = try TemporaryFolder()
        try folder.write("c/1.jpg", try Fixtures.bytes("colour.jpg"))
        let small = try SyntheticDataset(count: 1)
        #expect(small.count == 1)
        try folder.write("c/2.png", try Fixtures.bytes("bilevel.png"))
        let same = try ImageFolderDataset(folder.path)
        #expect(same.imageSize != nil)
        var draft = try ImageFolderDataset(folder.path, draftSide: 7)
        #expect(draft.imageSize == nil)
        func make(_ augmentation: Augmentation) throws -> BatchLoader {
            try BatchLoader(
                draft, augmentation: augmentation, normalization: .identity(channels: 3), options: .evaluation(batchSize: 2, threads: 1))
        }
        expectError(.argument, "the images differ in size") { _ = try make(.none) }
        let batches = try take(make(.randomResizedCropFlip(size: ImageSize(height: 6, width: 9))), 2)
        #expect(batches[0].images.count == 2 * 3 * 6 * 9)
        draft = try ImageFolderDataset(folder.path, cacheBytes: 1 << 20)
        #expect(try take(make(.resize(size: ImageSize(height: 4, width: 4))), 1)[0].images.allSatisfy { $0 >= 0 && $0 <= 1 })
        #expect(draft.cachedBytes > 0)
    }

    @Test(arguments: [0, 500, 2200, 1 << 20]) func theCacheChangesNothingAndKeepsItsLimit(bytes: Int) throws {
        let folder = try TemporaryFolder()
        for i in 0..<5 { try folder.write("c/\(i).jpg", try Fixtures.bytes(["colour.jpg", "progressive.jpg", "cmyk.jpg"][i % 3])) }
        let plain = try ImageFolderDataset(folder.path), cached = try ImageFolderDataset(folder.path, cacheBytes: bytes)
        func run(_ dataset: ImageDataset, _ threads: Int) throws -> [BatchCopy] {
            try take(
                BatchLoader(
                    dataset, augmentation: .padCropFlip(padding: 2), normalization: .identity(channels: 3),
                    options: LoaderOptions(batchSize: 2, dropLast: false, threads: threads, epochs: 3)), 100)
        }
        let expected = try run(plain, 0)
        #expect(expected.count == 9)
        #expect(try run(cached, 3) == expected)
        #expect(try run(cached, 0) == expected)
        #expect(cached.cachedBytes <= bytes)
        #expect(cached.cachedBytes > (bytes >= 2200 ? 1000 : -1))
    }
}
