import CMRPKernels
import MRPEngine
import MRPOptions

/// Patch-level routing (arXiv 2306.04073): experts that see few patches against a network that sees all, on training sets of several sizes;
/// separately and jointly trained routers, random and frozen ones as controls, and the router lemma.
struct PatchRouting: Experiment {
    let paper = "arXiv 2306.04073"
    let note =
        "Shows the mechanism of arXiv 2306.04073 at finite size; the powers 8 and 10 of its sample sizes are upper bounds and do not show."

    let presets = [
        Preset(
            name: "patch_routing",
            summary: "Routed experts against a plain network on few samples, with the router lemma; five seeds, a minute.",
            values: [
                ("dimension", "50"), ("patches", "16"), ("kernels_per_class", "20"), ("power", "2"), ("radius", "0.001"),
                ("train_batch", "20"), ("supervised_rate", "0.2"), ("test_samples", "2000"),
            ])
    ]

    let keys: Set<String> = [
        "samples", "epochs", "capacity", "joint_experts", "joint_capacity", "router_deviation", "random_routers", "delta_d", "delta_r",
        "lemma_delta_d", "lemma_delta_r", "lemma_samples", "pattern_sets", "pattern_radius", "dimension", "patches", "kernels_per_class",
        "power", "radius", "train_batch", "supervised_rate", "test_samples", "controls",
    ]

    let claims: [any Claim] = [
        RoutingNeedsFewerSamples(), RoutersFindThePatch(), JointRoutersBecomeProper(), RandomRouters(), FrozenRouters(),
        AllPatchesIsPlain(),
    ]

    func validate(_ o: LabOptions) throws {
        try require(!o.sampleSizes.isEmpty, "samples has no size of a training set")
        for (index, size) in o.sampleSizes.enumerated() {
            let isWhole = size == size.rounded() && size >= 2 && size <= Double(1 << 30) && Int(size) % 2 == 0
            try require(isWhole, "samples has \(Text.number(size)), which is no even number from 2 to \(1 << 30)")
            try require(index == 0 || size > o.sampleSizes[index - 1], "samples has \(Text.number(size)) after a size that is not smaller")
        }
        try require(o.dimension >= 3, "dimension (d) \(o.dimension) is less than 3")
        try require(o.capacity <= o.patches, "capacity (l) \(o.capacity) is above patches (P) \(o.patches)")
        try require(o.jointCapacity <= o.patches, "joint_capacity \(o.jointCapacity) is above patches (P) \(o.patches)")
        try require(
            o.kernels % o.jointExperts == 0,
            "joint_experts \(o.jointExperts) does not divide the \(o.kernels) kernels (K = 2 m)")
    }

    func cost(_ options: LabOptions) -> Double {
        let arms = RoutedArms.Arm.all(options).reduce(0.0) { $0 + $1.cost(options) }
        return options.sampleSizes.reduce(0.0) { $0 + Double(RoutedArms.steps(options, Int($1))) * arms }
    }

    func run(_ run: SeedRun) throws -> SeedResult {
        var result = SeedResult(seed: run.seed)
        let arms = try RoutedArms(run)
        result.arms = try RoutedArms.Arm.all(run.options).map(arms.train)
        if run.options.controls { result.arms.append(try arms.allPatches(result.arm("cnn"))) }
        result.arms.append(try RouterLemma.run(run, id: "lemma", deltaD: run.options.deltaD, deltaR: run.options.deltaR))
        result.arms.append(
            try RouterLemma.run(run, id: "lemma_hard", deltaD: run.options.lemmaDeltaD, deltaR: run.options.lemmaDeltaR))
        return result
    }

    func studyColumns(_ options: LabOptions) -> [String] {
        let arms = RoutedArms.Arm.all(options).flatMap { arm in arm.numbers(options).map { "\(arm.id).\($0)" } }
        return arms + ["lemma", "lemma_hard"].flatMap { id in RouterLemma.numbers.map { "\(id).\($0)" } }
    }

    func studyRow(_ result: SeedResult, _ options: LabOptions) -> [String] {
        result.arms.filter { $0.id != "all_patches" }.flatMap { arm in arm.numbers.map { Study.field($0.value) } }
    }
}
