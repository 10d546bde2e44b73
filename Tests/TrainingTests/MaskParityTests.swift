import MRPData
import MRPEngine
import MRPTraining
import TestSupport
import Testing

/// Masks move as torchvision moves them, and measures are those of torchmetrics (Tests/fixtures/dense/parity.safetensors).
@Suite struct MaskParityTests {
    @Test func masksMoveAsInTorchvision() throws {
        let fixture = try Fixture("parity", in: "dense")
        let size = ImageSize(height: 17, width: 23)
        var ids = try fixture.values("mask").map { UInt8($0) }
        func moved(_ name: String, _ move: (ImageWorkspace) throws -> Void) throws {
            let workspace = ImageWorkspace()
            try ids.withUnsafeMutableBytes { bytes in
                let pixels = try #require(bytes.baseAddress)
                workspace.show(PixelView(pixels, size, channels: 1, type: .uint8))
                workspace.showTarget(PixelView(ids: pixels, size, type: .uint8))
                try move(workspace)
                let view = try #require(workspace.target)
                let rows = (0..<view.size.height).flatMap { row in
                    (0..<view.size.width).map { view.pixels.load(fromByteOffset: row * Int(view.row_bytes) + $0, as: UInt8.self) }
                }
                #expect(rows == (try fixture.values("moved/" + name)).map { UInt8($0) }, "\(name)")
            }
        }
        try moved("flip") { try $0.flipHorizontally() }
        try moved("crop") { try $0.crop(top: 3, left: 5, ImageSize(height: 8, width: 9)) }
        try moved("resized") { try $0.resize(to: ImageSize(height: 12, width: 20)) }
        try moved("enlarged") { try $0.resize(to: ImageSize(height: 31, width: 37)) }
        try moved("resized_crop") {
            try $0.crop(top: 2, left: 1, ImageSize(height: 11, width: 13))
            try $0.resize(to: ImageSize(height: 16, width: 16))
        }
        try moved("pad_crop") { try $0.window(top: 1 - 4, left: 6 - 4, size) }
    }

    @Test func measuresAreThoseOfTorchmetrics() throws {
        let fixture = try Fixture("parity", in: "dense")
        let (truth, guess, classes) = (try fixture.values("truth"), try fixture.values("guess"), 6)
        let evaluation = try Inference.MapEvaluation(classes: classes)
        var pixels = 0
        for (label, answer) in zip(truth, guess) where label != 255 {
            evaluation.confusion[Int(label) * classes + Int(answer)] += 1
            pixels += 1
        }
        #expect(abs(evaluation.meanIntersectionOverUnion - (try fixture.number("miou"))) < 1e-6)
        let known = try fixture.numbers("classes")
        let own = evaluation.intersectionsOverUnions
        #expect(own[5].isNaN && known.count == 5 && zip(own, known).allSatisfy { abs($0 - $1) < 1e-6 })
        let right = (0..<classes).reduce(0) { $0 + evaluation.confusion[$1 * classes + $1] }
        #expect(abs(Double(right) / Double(pixels) - (try fixture.number("accuracy"))) < 1e-6)
    }
}
