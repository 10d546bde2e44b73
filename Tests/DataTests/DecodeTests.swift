import MRPData
import MRPEngine
import Testing

@Suite struct DecodeTests {
    @Test func agreesWithPillow() throws {
        let arrays = try Fixtures.arrays()
        let cases = try Fixtures.cases("decode")
        #expect(cases.count >= 16)
        let workspace = ImageWorkspace()
        for words in cases {
            let (name, size) = (words[0], ImageSize(height: Int(words[1])!, width: Int(words[2])!))
            let type = PixelType(rawValue: Int32(words[4])!)!
            let info = try ImageFile.probe(Fixtures.folder + name, workspace)
            #expect(info.size == size && info.channels == Int(words[3])! && info.type == type, "\(name)")
            try ImageFile.load(Fixtures.folder + name, into: workspace)
            let got = values(workspace.image), expected = Fixtures.values(arrays[words[5]]!, type)
            #expect(got.count == expected.count, "\(name)")
            let worst = zip(got, expected).map { abs($0 - $1) }.max()!
            #expect(worst <= Float(words[6])!, "\(name): off by \(worst)")
        }
    }

    @Test func whatIsNoImageIsRefusedByName() throws {
        let workspace = ImageWorkspace()
        func refuse(_ name: String, _ code: MRPError.Code, _ cause: String) {
            expectError(code, name) { try ImageFile.load(Fixtures.folder + name, into: workspace) }
            expectError(code, cause) { try ImageFile.load(Fixtures.folder + name, into: workspace) }
        }
        refuse("text.jpg", .format, "neither JPEG nor PNG: it begins with 74 68 69 73")
        refuse("truncated.jpg", .format, "JPEG: ")
        refuse("truncated.png", .format, "premature end of file")
        refuse("damaged.png", .format, "PNG: ")
        refuse("huge.png", .unsupported, "60000 x 60000 pixels are above the limit")
        refuse("absent.jpg", .io, "No such file or directory")
        expectError(.io, "not a regular file") { try ImageFile.load(Fixtures.folder, into: workspace) }
        // And the next correct call works.
        try ImageFile.load(Fixtures.folder + "rgb.png", into: workspace)
        #expect(workspace.image.size == ImageSize(height: 15, width: 21))
    }

    @Test(arguments: ["GIF89a", "RIFF....WEBP", "BM123456", ""]) func otherFormatsAreNamed(text: String) {
        let bytes = Array(text.utf8)
        let part = text.isEmpty ? "picture: the file is empty" : "only JPEG and PNG are read"
        expectError(.format, part) { try ImageFile.decode(bytes, bytes.count, into: ImageWorkspace(), name: "picture") }
    }

    /// Every prefix is an error or, where only the end marker is missing, the whole picture.
    @Test(arguments: ["colour.jpg", "progressive.jpg", "gray.jpg", "rgb.png", "interlaced.png", "palette.png", "gray16.png"])
    func prefixesNeverGivePartOfAPicture(name: String) throws {
        let bytes = try Fixtures.bytes(name)
        let workspace = ImageWorkspace()
        try ImageFile.decode(bytes, bytes.count, into: workspace, name: name)
        let whole = values(workspace.image)
        var refused = 0
        for count in 0..<bytes.count {
            let prefix = Array(bytes[..<count])
            do {
                try ImageFile.decode(prefix, count, into: workspace, name: name)
                #expect(values(workspace.image) == whole, "\(count) of \(bytes.count) bytes")
            } catch let error as MRPError {
                #expect(error.code == .format, "\(error.message)")
                refused += 1
            }
        }
        #expect(refused >= bytes.count - 16)
    }

    /// Damage is refused or decoded, without a crash; run under the address sanitizer this is the decoder's fuzz test.
    @Test(arguments: ["colour.jpg", "progressive.jpg", "cmyk.jpg", "rgb.png", "interlaced.png", "palette_transparent.png", "rgb16.png"])
    func damagedBytesAreSurvived(name: String) throws {
        let bytes = try Fixtures.bytes(name)
        let workspace = ImageWorkspace()
        var random = SampleRandom(seed: 1, purpose: .test, epoch: 0, sample: bytes.count, position: 0)
        var refused = 0
        for _ in 0..<400 {
            var damaged = bytes
            for _ in 0..<1 + random.below(4) { damaged[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.word()) }
            do { try ImageFile.decode(damaged, damaged.count, into: workspace, name: name) } catch is MRPError { refused += 1 }
        }
        #expect(refused > 40)
    }

    @Test func draftKeepsTheShorterSideLongEnough() throws {
        let workspace = ImageWorkspace()
        for (side, expected) in [(0, 15), (15, 15), (8, 15), (7, 8), (4, 8), (3, 4), (1, 2)] {
            try ImageFile.load(Fixtures.folder + "colour.jpg", into: workspace, draftSide: side)
            #expect(workspace.image.height == Int64(expected), "draft \(side)")
        }
    }
}

@Suite struct ResampleTests {
    /// uint8: the same bytes as Pillow. uint16: within one step, since Pillow rounds between its passes. float32: to 1e-5.
    @Test func agreesWithPillow() throws {
        let arrays = try Fixtures.arrays()
        let cases = try Fixtures.cases("resize")
        #expect(cases.count >= 90)
        for w in cases {
            let type = PixelType(rawValue: Int32(w[4])!)!
            let dataset = try ArrayDataset(
                pixels: arrays[w[0]]!, type: type, layout: .channelsLast, count: 1, channels: Int(w[3])!,
                size: ImageSize(height: Int(w[1])!, width: Int(w[2])!))
            let workspace = ImageWorkspace()
            try dataset.load(0, into: workspace)
            try workspace.resize(
                to: ImageSize(height: Int(w[10])!, width: Int(w[11])!), Resampling(rawValue: Int32(w[5])!)!,
                box: (Float(w[6])!, Float(w[7])!, Float(w[8])!, Float(w[9])!))
            let got = values(workspace.image), expected = Fixtures.values(arrays[w[12]]!, type)
            #expect(got.count == expected.count)
            let worst = zip(got, expected).map { abs($0 - $1) }.max()!
            let tolerance: Float = type == .uint8 ? 0 : type == .uint16 ? (w[5] == "0" ? 0 : 1) : 1e-5
            #expect(worst <= tolerance, "\(w.joined(separator: " ")): off by \(worst)")
        }
    }

    @Test func boxesOutsideAreRefused() throws {
        let dataset = try patterned(1)
        let workspace = ImageWorkspace()
        try dataset.load(0, into: workspace)
        let size = ImageSize(height: 4, width: 4)
        expectError(.argument, "is not inside the image of 8 x 8") { try workspace.resize(to: size, box: (0, 0, 9, 8)) }
        expectError(.argument, "is not inside") { try workspace.resize(to: size, box: (4, 4, 4, 8)) }
        expectError(.argument, "is not inside") { try workspace.resize(to: size, box: (-1, 0, 4, 8)) }
        expectError(.argument, "is not inside") { try workspace.resize(to: size, box: (.nan, 0, 4, 8)) }
        expectError(.argument, "height 0 is outside") { try workspace.resize(to: ImageSize(height: 0, width: 4)) }
    }

    /// torchvision's distribution: area within scale, aspect within ratio, always inside, and the whole range is used.
    @Test func randomWindowsAreWithinTheirRanges() {
        let step = RandomResizedCrop(size: ImageSize(height: 8, width: 8), scale: 0.2...1)
        let input = ImageSize(height: 120, width: 160)
        var areas: [Double] = []
        for sample in 0..<2000 {
            var random = SampleRandom(seed: 2, epoch: 0, sample: sample, position: 0)
            let part = step.window(in: input, &random)
            #expect(part.top >= 0 && part.left >= 0 && part.top + part.size.height <= 120 && part.left + part.size.width <= 160)
            let aspect = Double(part.size.width) / Double(part.size.height)
            #expect(aspect > 0.73 && aspect < 1.37)
            areas.append(Double(part.size.height * part.size.width) / (120 * 160))
        }
        #expect(areas.min()! > 0.19 && areas.min()! < 0.22 && areas.max()! > 0.95)
        // An image too narrow for any window: the centre, as torchvision falls back.
        var random = SampleRandom(seed: 2, epoch: 0, sample: 0, position: 0)
        let part = step.window(in: ImageSize(height: 4, width: 400), &random)
        #expect(part.size == ImageSize(height: 4, width: 5) && part.left == 197)
    }

    @Test func evaluationResizesAndTakesTheCentre() throws {
        let dataset = try patterned(1, height: 20, width: 30)
        let size = ImageSize(height: 7, width: 7)
        let augmentation = Augmentation.centerCrop(size: size)
        #expect(try augmentation.outputSize(for: nil, channels: 3) == size)
        let workspace = ImageWorkspace(), other = ImageWorkspace()
        try dataset.load(0, into: workspace)
        try augmentation.apply(workspace, seed: 0, epoch: 0, sample: 0)
        try dataset.load(0, into: other)
        try other.resize(to: ImageSize(height: 8, width: 12))
        let whole = values(other.image), crop = values(workspace.image)
        // (8 - 7) / 2 and (12 - 7) / 2, halves to even: row 0, column 2.
        for y in 0..<7 { for x in 0..<21 { #expect(crop[y * 21 + x] == whole[y * 36 + 6 + x]) } }
    }
}
