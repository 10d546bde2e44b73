import Glibc
import MRPData
import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// Run folders: exact resume at every step, old and damaged checkpoints, the log.
@Suite struct CheckpointTests {
    let steps = 20

    func options(_ changes: [(String, String)] = []) throws -> Options {
        var options = Options()
        let small = [
            ("image_size", "16"), ("patch_size", "8"), ("width", "16"), ("depth", "1"), ("heads", "2"), ("decoder_width", "8"),
            ("decoder_depth", "1"), ("decoder_heads", "2"), ("epochs", "5"), ("batch_size", "8"), ("threads", "1"), ("seed", "5"),
            ("checkpoint_seconds", "0"), ("warmup_epochs", "0"),
        ]
        for (key, value) in small + changes { try options.set(key, value) }
        return options
    }

    func start(_ phase: Phase, _ options: Options) throws -> TrainingRun {
        try TrainingRun(Model(encoder: options.encoder(), seed: 5), Datasets.synthetic(count: 32, seed: 3, options), options, phase)
    }

    @discardableResult func finish(_ run: TrainingRun) throws -> [UInt8] {
        while try run.step() == .stepped {}
        let folder = try TemporaryFolder()
        try ModelFile.save(run.trainer.model, to: folder.file("model.safetensors"))
        return try bytes(folder.file("model.safetensors"))
    }

    @Test(arguments: Phase.allCases) func everyStepCanBeTheCut(_ phase: Phase) throws {
        let expected = try finish(start(phase, options()))
        for cut in 0..<steps {
            let folder = try TemporaryFolder()
            do {
                let run = try start(phase, options([("run_folder", folder.path)]))
                for _ in 0..<cut { _ = try run.step() }
                try run.suspend()
            }
            let run = try start(phase, options([("run_folder", folder.path), ("threads", cut % 2 == 0 ? "2" : "1")]))
            #expect(run.progress.step == cut)
            #expect(try finish(run) == expected, "cut at step \(cut)")
        }
    }

    @Test func theNewestAreKeptAndDamageIsSetAside() throws {
        let folder = try TemporaryFolder()
        let changes = [("run_folder", folder.path), ("checkpoint_steps", "3"), ("keep_checkpoints", "2")]
        let expected = try finish(start(.pretrain, options(changes)))
        func exists(_ name: String) -> Bool { access(folder.file(name), F_OK) == 0 }
        #expect(exists("pretrain-00000020.ckpt") && exists("pretrain-00000018.ckpt") && !exists("pretrain-00000015.ckpt"))
        for damage in 0..<3 {
            var content = try bytes(folder.file("pretrain-00000020.ckpt"))
            switch damage {
            case 0: content[content.count / 2] ^= 1
            case 1: content.removeLast()
            default: content[40] ^= 4  // in the header
            }
            try content.withUnsafeBytes { try FileSystem.replace(folder.file("pretrain-00000020.ckpt"), with: [$0]) }
            let run = try start(.pretrain, options(changes))
            #expect(run.progress.step == 18, "damage \(damage)")
            let notes = run.takeNotes().map(\.text)
            #expect(notes.count == 2 && notes[0].contains("pretrain-00000020.ckpt"), "\(notes)")
            #expect(exists("pretrain-00000020.ckpt.damaged"))
            #expect(try finish(run) == expected)
        }
    }

    @Test func aFolderBelongsToOneRun() throws {
        let folder = try TemporaryFolder()
        func refusal(_ changes: [(String, String)]) -> MRPError? {
            #expect(throws: MRPError.self) { try start(.pretrain, options([("run_folder", folder.path)] + changes)) }
        }
        do {
            let run = try start(.pretrain, options([("run_folder", folder.path)]))
            _ = try run.step()
            #expect(refusal([])?.message.contains("in use by another run") == true)
            try run.suspend()
        }
        #expect(refusal([("continue_run", "false")])?.message.contains("has checkpoints") == true)
        #expect(refusal([("seed", "6")])?.message.contains("seed 5, now 6") == true)
        #expect(refusal([("run_folder", folder.path + "/a/b")])?.code == .io)
    }

    @Test func theLogHoldsEveryStepOnce() throws {
        let (whole, cut) = (try TemporaryFolder(), try TemporaryFolder())
        try finish(start(.pretrain, options([("run_folder", whole.path)])))
        do {  // killed after step 9 with a checkpoint of step 6
            let run = try start(.pretrain, options([("run_folder", cut.path), ("checkpoint_steps", "6")]))
            for _ in 0..<9 { _ = try run.step() }
        }
        try finish(start(.pretrain, options([("run_folder", cut.path), ("checkpoint_steps", "6")])))
        func rows(_ folder: TemporaryFolder) throws -> [[Substring]] {
            try String(decoding: bytes(folder.file("pretrain.csv")), as: UTF8.self).split(separator: "\n").map {
                $0.split(separator: ",", omittingEmptySubsequences: false)
            }
        }
        let (expected, found) = (try rows(whole), try rows(cut))
        #expect(expected.count == steps + 1 && found.count == steps + 1)
        #expect(expected[0].prefix(4) == ["step", "epoch", "loss", "mean_loss"])
        for (a, b) in zip(expected, found) { #expect(a.prefix(5) == b.prefix(5)) }  // all but speed and time
    }

    @Test func theTimeBudgetStopsWithACheckpoint() throws {
        let folder = try TemporaryFolder()
        let run = try start(.pretrain, options([("run_folder", folder.path), ("time_budget", "1e-9")]))
        #expect(try run.step() == .stepped)
        #expect(run.end == .timeBudget)
        #expect(try run.step() == .finished)
        #expect(access(folder.file("pretrain-00000001.ckpt"), F_OK) == 0)
    }
}
