// What arXiv 2306.04073 proves of routed experts, at finite size. Thresholds at sizes of the training set that are not run are left out.

extension ArmResult {
    /// A number at a size of the training set, nil when that is not run.
    fileprivate func at(_ size: Int, _ name: String, _ options: LabOptions) -> Double? {
        options.sampleSizes.contains(Double(size)) ? number("\(name)_\(size)") : nil
    }
}

/// Theorems 4.2 and 4.3 give smaller sample sizes than for the plain network; their powers are upper bounds and not tested. With 20 samples
/// chance decides how often each set of patterns stands beside each class, and so what the router follows: of 150 draws by numpy it has the
/// patch among two in 0.90 of the samples on average, with a deviation of 0.16. So most statements there are of the distribution.
struct RoutingNeedsFewerSamples: Claim {
    let id = "routing_needs_fewer_samples"
    let statement = "Experts that see the patches of a trained router learn from fewer samples than the plain network."

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let cnn = result.arm("cnn"), let separate = result.arm("separate") else { return [] }
        var checks: [Check] = []
        if let plain = cnn.at(20, "accuracy", options), let routed = separate.at(20, "accuracy", options) {
            checks += [
                Check(id, "routed accuracy, 20 samples", .atLeast(0.93), routed, form: .share(0.75)),
                Check(id, "plain accuracy, 20 samples", .atMost(0.93), plain, form: .share(0.9)),
                Check(id, "difference, 20 samples", .atLeast(0.05), routed - plain, form: .share(0.75)),
                Check(id, "difference, 20 samples", .atLeast(0.1), routed - plain, form: .mean(deviation: 0.15)),
            ]
        }
        if let routed = separate.at(80, "accuracy", options) {
            checks.append(Check(id, "routed accuracy, 80 samples", .atLeast(0.99), routed, form: .share(0.9)))
        }
        return checks
    }
}

/// Lemma 4.1 at its own capacity l*, on every seed; and on few samples, where the mean is judged (150 draws by numpy: 0.98, deviation 0.06). That
/// l = 1 does not do in the hard regime is a statement of most seeds, as l* may be small there by chance.
struct RoutersFindThePatch: Claim {
    let id = "routers_find_the_patch"
    let statement = "A separately trained router sends the patch that tells the class to its expert as soon as that takes l* patches."

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let separate = result.arm("separate"), let easy = result.arm("lemma"), let hard = result.arm("lemma_hard") else { return [] }
        let few =
            separate.at(40, "hit", options).map { [Check(id, "router hits, 40 samples", .atLeast(0.97), $0, form: .mean(deviation: 0.06))] }
            ?? []
        return few + [
            Check(id, "router hits with l = 1, easy regime", .atLeast(0.99), easy.number("hit_1")),
            Check(id, "router hits with l = 1, hard regime", .atMost(0.9), hard.number("hit_1"), form: .share(0.9)),
            Check(id, "router hits with l = l* + 2, hard regime", .atLeast(0.99), hard.number("hit_l_star_2"), form: .share(0.9)),
        ]
    }
}

/// Assumption 4.4, which the paper's theorem on joint training needs. A readout N(0, 1) of five kernels may be of one sign, and then accuracy
/// fails although the gates are right: so the median of accuracy is judged, which is at least 0.97 when half of the seeds are.
struct JointRoutersBecomeProper: Claim {
    let id = "joint_routers_become_proper"
    let statement = "Routers that are trained with their experts give the telling patch the largest gate."

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let joint = result.arm("joint") else { return [] }
        var checks: [Check] = []
        for size in [80, 160] {
            if let gate = joint.at(size, "gate_worst", options) {
                let form = size < 160 ? Check.Form.share(0.9) : .everySeed
                checks.append(Check(id, "largest gate on the patch, worse class, \(size) samples", .atLeast(0.99), gate, form: form))
            }
        }
        if let accuracy = joint.at(160, "accuracy", options) {
            checks.append(Check(id, "joint accuracy, 160 samples", .atLeast(0.97), accuracy, form: .share(0.5)))
        }
        return checks
    }
}

/// A single random router may be lucky, so the mean of several is judged.
struct RandomRouters: Claim {
    let id = "random_routers"
    let statement = RoutedArms.Arm.randomRouters.statement

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let random = result.arm(id) else { return [] }
        return options.sampleSizes.map { Int($0) }.filter { $0 <= 80 }.map {
            Check(id, "accuracy, \($0) samples", .atMost(0.85), random.number("accuracy_\($0)"), isControl: true, form: .share(0.9))
        }
    }
}

struct FrozenRouters: Claim {
    let id = "frozen_routers"
    let statement = RoutedArms.Arm.frozenRouters.statement

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let frozen = result.arm(id), let size = options.sampleSizes.last.map({ Int($0) }) else { return [] }
        let gate = frozen.number("gate_worst_\(size)")
        return [Check(id, "largest gate on the patch, worse class", .atMost(0.95), gate, isControl: true, form: .share(0.9))]
    }
}

struct AllPatchesIsPlain: Claim {
    let id = "all_patches"
    let statement = "Experts that see all patches are the plain network."

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let all = result.arm(id) else { return [] }
        return [Check(id, "difference of test accuracy", .between(-0.005, 0.005), all.number("difference"), isControl: true)]
    }
}
