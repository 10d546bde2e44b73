import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions
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
        try OptionTable.training.check()
        for definition in OptionTable.training.definitions {
            var options = Options()
            try options.set(definition.key, definition.defaultValue)
            #expect(try options.text(definition.key) == definition.defaultValue)
            #expect(try Options().text(definition.key) == definition.defaultValue)
            #expect(!definition.summary.isEmpty && definition.summary.hasSuffix("."))
        }
    }

    @Test func twoOptionsOfOneNameAreRefused() {
        let twice = OptionTable(NetworkOptions.all + [NetworkOptions.width], presets: [])
        #expect(throws: MRPError.self) { try twice.check() }
        let bad = OptionTable(NetworkOptions.all, presets: [Preset(name: "wrong", summary: "", values: [("widht", "8")])])
        #expect(throws: MRPError.self) { try bad.check() }
        let outside = OptionTable([Option("share", .number(0..<1), default: 1, section: .data, "A share.")], presets: [])
        #expect(throws: MRPError.self) { try outside.check() }
        let lost = OptionTable([NetworkOptions.imageSize], presets: [])
        #expect(throws: MRPError.self) { try lost.check() }
    }

    @Test func everyPresetIsValid() throws {
        #expect(Preset.all.map(\.name) == OptionTable.training.presets.map(\.name))
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
        #expect(message { try options.set("lr", "0.1") } == "unknown option 'lr': it is 'learning_rate' here")
        #expect(message { try options.set("finetune.lr", "0.1") } == "unknown option 'finetune.lr': it is 'learning_rate' here")
        #expect(message { try options.set("n_jobs", "2") } == "unknown option 'n_jobs': it is 'threads' here")
        #expect(
            message { try options.set("class_weight", "balanced") }.hasPrefix("unknown option 'class_weight': images have no weights but"))
        #expect(message { try options.set("kernel", "rbf") } == "unknown option 'kernel': none has a similar name")
        #expect(message { try options.set("", "1") } == "unknown option '': none has a similar name")
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
        #expect(message { try options.set("epochs", "auto") } == "no error")
        #expect(message { try options.set("mlp_ratio", "auto") } == "mlp_ratio 'auto' is not a number")
    }

    @Test func phases() throws {
        var options = try Options(preset: "mae_vit_mini_32")
        #expect(try options.text("pretrain.batch_size") == "64")
        #expect(try options.text("finetune.batch_size") == "128")
        try options.set("finetune.epochs", "7")
        #expect(try options.text("finetune.epochs") == "7")
        #expect(try options.text("pretrain.epochs") == "auto")
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

    @Test func valuesAreReadByTheirDeclarations() throws {
        var options = Options()
        #expect(options[NetworkOptions.width] == nil && options[NetworkOptions.imageHeight] == 32)
        #expect(options[NetworkOptions.pooling] == .mean && options[ObjectiveOptions.maskPattern] == nil)
        #expect(options[DataOptions.mean] == nil && options[ObjectiveOptions.normPixLoss])
        for (key, value) in [
            ("width", "64"), ("image_size", "16"), ("pooling", "cls"), ("mask_pattern", "multi_block"), ("mean", "0.5, 0.25"),
            ("norm_pix_loss", "0"), ("pretrain.crop_padding", "2"),
        ] { try options.set(key, value) }
        #expect(options[NetworkOptions.width] == 64 && options[NetworkOptions.imageHeight] == 16)
        #expect(options[NetworkOptions.pooling] == .cls && options[ObjectiveOptions.maskPattern] == .multiBlock)
        #expect(options[DataOptions.mean] == [0.5, 0.25] && !options[ObjectiveOptions.normPixLoss])
        #expect(options[DataOptions.cropPadding, .pretrain] == 2 && options[DataOptions.cropPadding, .finetune] == 4)
        try options.set(DataOptions.cropPadding, .finetune, 3)
        #expect(try options.text("finetune.crop_padding") == "3")
        #expect(options.isSet(NetworkOptions.imageWidth) && !options.isSet(NetworkOptions.depth))
        #expect(options.given(NetworkOptions.width) == 64 && options.given(NetworkOptions.channels) == nil)
    }

    /// The text of a value is read as the value again.
    @Test func textsAndValues() throws {
        func check<Value: Equatable>(_ option: Option<Value>, _ texts: [Value: String]) throws where Value: Hashable {
            let table = OptionTable([option], presets: [])
            for (value, text) in texts {
                #expect(option.text(value) == text)
                var options = Options(table)
                try options.set(option.key, text)
                #expect(options[option] == value)
            }
            #expect(Options(table)[option] == option.defaultValue)
        }
        try check(NetworkOptions.layerNormEps, [1e-6: "1e-6", 0.01: "0.01", 1: "1", 1e-12: "1e-12"])
        try check(NetworkOptions.headStd, [nil: "auto", 0.02: "0.02", 1e20: "1e+20", 1e7: "10000000"])
        try check(NetworkOptions.pooling, [.mean: "mean", .cls: "cls"])
        try check(NetworkOptions.stem, [nil: "auto", .cifar: "cifar"])
        try check(ObjectiveOptions.normPixLoss, [true: "true", false: "false"])
        try check(BEiT.codebookSize, [2: "2", 65_536: "65536"])
        try check(DataOptions.std, [nil: "auto", []: "", [0.5, 1e-5]: "0.5,1e-5"])
    }

    @Test func limitsInWords() {
        #expect(NetworkOptions.headStd.definition.limits == ">= 0.0")
        #expect(ObjectiveOptions.maskRatio.definition.limits == "[0.0, 1.0)")
        #expect(NetworkOptions.layerNormEps.definition.limits == "[1e-12, 1.0]")
        #expect(OptionType.number(.above(0, upTo: 1)).limits == "(0.0, 1.0]")
        #expect(DataOptions.cropPadding.definition.isPerPhase && !DataOptions.mixup.definition.isPerPhase)
        #expect(NetworkOptions.depth.definition.summary == "Number of transformer blocks; auto: the encoder's.")
    }
}
