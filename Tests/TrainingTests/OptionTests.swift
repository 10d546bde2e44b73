import MRPEngine
import MRPTraining
import Testing

@Suite struct OptionTests {
    func message(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "no error"
        } catch let error as MRPError {
            return error.code == .argument ? error.message : "\(error.code): \(error.message)"
        } catch { return "\(error)" }
    }

    @Test func everyDefaultIsValid() throws {
        for definition in OptionTable.all {
            var options = Options()
            try options.set(definition.key, definition.defaultValue)
            #expect(try Options().text(definition.key) == definition.defaultValue)
            #expect(!definition.summary.isEmpty && definition.summary.hasSuffix("."))
        }
        #expect(Set(OptionTable.all.map(\.key)).count == OptionTable.all.count)
    }

    @Test func everyPresetIsValid() throws {
        for preset in Preset.all {
            let options = try Options(preset: preset.name)
            _ = try options.encoder()
            _ = try options.decoder()
        }
        #expect(message { _ = try Options(preset: "mae") }.hasPrefix("unknown preset 'mae': there are mae_vit_"))
    }

    @Test func unknownKeysNameTheNearest() {
        var options = Options()
        #expect(message { try options.set("mask_ration", "0.5") } == "unknown option 'mask_ration': the nearest is 'mask_ratio'")
        #expect(message { try options.set("finetune.epoch", "5") } == "unknown option 'finetune.epoch': the nearest is 'epochs'")
        #expect(message { try options.set("pretrain.width", "5") } == "option 'width' cannot be set for one phase")
    }

    @Test func valuesAreChecked() {
        var options = Options()
        #expect(message { try options.set("mask_ratio", "1.2") } == "mask_ratio 1.2 is outside [0.0, 1.0)")
        #expect(message { try options.set("mask_ratio", "1") } == "mask_ratio 1 is outside [0.0, 1.0)")
        #expect(message { try options.set("mask_ratio", "nan") } == "mask_ratio 'nan' is not a number")
        #expect(message { try options.set("batch_size", "0") } == "batch_size 0 is outside 1 ... 1048576")
        #expect(message { try options.set("batch_size", "ten") } == "batch_size 'ten' is not an integer")
        #expect(message { try options.set("norm_pix_loss", "maybe") } == "norm_pix_loss 'maybe' is not one of: true or false")
        #expect(message { try options.set("pooling", "max") } == "pooling 'max' is not one of: mean, cls")
        #expect(message { try options.set("mean", "0.5, x") } == "mean '0.5, x' is not a list of numbers")
        #expect(message { try options.set("depth", "auto") } == "no error")
        #expect(message { try options.set("epochs", "auto") } == "epochs 'auto' is not a number")
    }

    @Test func phases() throws {
        var options = try Options(preset: "mae_vit_mini_32")
        #expect(try options.text("pretrain.batch_size") == "64")
        #expect(try options.text("finetune.batch_size") == "128")
        try options.set("finetune.epochs", "7")
        #expect(try options.text("finetune.epochs") == "7")
        #expect(try options.text("pretrain.epochs") == "20")
        try options.set("batch_size", "32")
        #expect(try options.text("pretrain.batch_size") == "32")
        #expect(try options.text("finetune.batch_size") == "32")
        try options.set("image_size", "64")
        #expect(try options.text("image_height") == "64")
        #expect(try options.text("image_width") == "64")
    }

    @Test func sizesThatDoNotFit() throws {
        var options = Options()
        try options.set("image_height", "30")
        #expect(message { _ = try options.encoder() } == "image size 30 x 32 is not a multiple of the patch size 4 x 4")
        try options.set("image_size", "32")
        try options.set("width", "100")
        try options.set("heads", "3")
        #expect(message { _ = try options.encoder() } == "encoder width 100 is not a multiple of its 3 heads")
    }
}
