import MRPEngine

/// Every quantity of the papers' definitions and of the finite experiments, with the papers' symbols (arXiv 2206.03826 with data as in
/// Allen-Zhu & Li 2020; 2410.23129; 2306.04073). The defaults are a regime of the first in which the mechanism shows within seconds; the
/// others' are in their presets: see `LabOption.all` for ranges.
public struct LabOptions: Sendable, Equatable {
    public enum Masks: String, CaseIterable, Sendable { case averaged, sampled }
    public enum TeacherKind: String, CaseIterable, Sendable { case scaled, ema, fixed }
    public enum StepRule: String, CaseIterable, Sendable { case relative, plain }
    public enum HeadKind: String, CaseIterable, Sendable { case block, free }

    /// Which experiment is run; a preset says it.
    public private(set) var experiment = ExperimentName.multiview

    // MARK: Data

    /// k: classes; there are 2 k features.
    public var classes = 10
    /// d: dimension of a patch, at least 2 k.
    public var dimension = 64
    /// P: patches of a sample.
    public var patches = 24
    /// C_p: patches that carry one feature.
    public var patchesPerFeature = 2
    /// s: every feature of another class is present with probability s / k.
    public var presence = 2.0
    /// mu: share of single-view samples in the data of pretraining and of training.
    public var singleFraction = 0.05
    /// z_p of each patch of a shown feature of the label is uniform between these two.
    public var mainLow = 0.9
    public var mainHigh = 1.2
    /// The sum of z_p of another class's feature in a multi-view sample is uniform between these two.
    public var otherLow = 0.2
    public var otherHigh = 0.4
    /// rho: in a single-view sample the label's hidden view has a sum of z_p in [rho, 2 rho].
    public var weakView = 0.05
    /// Gamma: in a single-view sample another class's feature has a sum of z_p in [Gamma / 2, Gamma].
    public var singleOther = 0.3
    /// gamma: every patch holds every feature with a coefficient uniform in [0, gamma].
    public var featureNoise = 0.01
    /// sigma_p: standard deviation of the Gaussian noise in each coordinate of each patch.
    public var noise = 0.04

    // MARK: Network

    /// m: kernels per class; the network has K = k m.
    public var kernelsPerClass = 20
    /// q: power of the smoothed ReLU.
    public var power = 5
    /// rho-bar: where the smoothed ReLU becomes linear; a feature counts as captured from a correlation of rho-bar on.
    public var radius = 0.5
    /// sigma_0: standard deviation of the initial weights, of MRP and of supervised learning.
    public var initialDeviation = 0.05

    // MARK: Pretraining

    /// tau: the teacher's weights are tau times the student's.
    public var tau = 1.15
    /// theta: probability that a patch is kept; kappa = 1 / theta - 1.
    public var theta = 0.5
    /// Masks: the exact average over all masks, or a new random mask of each sample in each step.
    public var masks = Masks.averaged
    /// Teacher: tau times the student, an exponential moving average of that, or tau times the initial student.
    public var teacher = TeacherKind.scaled
    /// Decay of the moving average when `teacher` is `ema`.
    public var emaDecay = 0.9
    /// N of pretraining; labels are not read.
    public var pretrainSamples = 300
    /// T: steps of pretraining; 0 leaves the random encoder.
    public var pretrainSteps = 150
    /// `relative`: every kernel on its own clock (the loss is a sum over kernels); `plain`: gradient descent.
    public var stepRule = StepRule.relative
    /// Upper limit of a relative step: the largest |change of w_r| / |w_r|.
    public var relativeStep = 0.05
    /// eta of pretraining; with relative steps an upper limit, divided by the largest f'(a)^2 of the kernel.
    public var pretrainRate = 2.0
    /// Samples per step of pretraining; 0: all (gradient descent).
    public var pretrainBatch = 0

    // MARK: Fine-tuning and supervised learning

    /// N of fine-tuning and of supervised learning: the same samples.
    public var trainSamples = 500
    /// Samples per step of both; 0: all.
    public var trainBatch = 0
    /// Steps of fine-tuning, with a free head that starts at 0.
    public var finetuneSteps = 80
    /// eta of the head in fine-tuning.
    public var headRate = 2.0
    /// eta of the encoder in fine-tuning.
    public var encoderRate = 0.05
    /// The head of supervised learning: fixed sums of each class's block of kernels (Allen-Zhu & Li), or free from 0.
    public var supervisedHead = HeadKind.block
    /// The most steps of supervised learning from random weights.
    public var supervisedSteps = 1000
    /// Share of the multi-view training samples whose being right ends supervised learning; 0: it takes all its steps.
    public var supervisedUntil = 1.0
    /// eta of supervised learning (of its head too, when that is free).
    public var supervisedRate = 2.0
    /// Fresh test samples of each kind, multi-view and single-view.
    public var testSamples = 1000

    // MARK: What is run

    /// Fine-tune after pretraining.
    public var finetune = true
    /// Train the supervised baseline.
    public var supervised = true
    /// Train a head on the frozen pretrained encoder.
    public var frozenProbe = true
    /// Run the controls beside the claims.
    public var controls = true
    /// m, steps, head rate and encoder rate of the control that trains a random encoder to convergence.
    public var convergedKernelsPerClass = 10
    public var convergedSteps = 400
    public var convergedHeadRate = 50.0
    public var convergedEncoderRate = 2.0

    // MARK: The experiment with subclasses

    /// k_s: subclasses of each of the two classes.
    public var subclasses = 20
    /// Aligned groups of subclasses per class, in the arm `groups`.
    public var groups = 2
    /// z of a hard sample's one patch with the other class's common feature is uniform between these two.
    public var distractorLow = 0.3
    public var distractorHigh = 0.4
    /// q and rho-bar of pretraining without labels.
    public var pretrainPower = 5
    public var pretrainRadius = 0.5

    // MARK: The experiment with routers

    /// Sizes of the training set; an arm is trained on each.
    public var sampleSizes = [20.0, 40, 80, 160]
    /// Passes over the training set.
    public var epochs = 150
    /// l: patches that each of the two experts sees.
    public var capacity = 2
    /// k and l of the arm whose routers are trained with the experts.
    public var jointExperts = 8
    public var jointCapacity = 6
    /// sigma_r: standard deviation of its initial routers.
    public var routerDeviation = 1e-4
    /// Pairs of random routers in the control.
    public var randomRouters = 8
    /// delta_d = <o_1, o_2>; delta_r: the largest correlation of another pattern's centre with the two.
    public var deltaD = 0.0
    public var deltaR = 0.2
    /// The same in the regime in which the lemma is tested, and the samples of its routers.
    public var lemmaDeltaD = 0.7
    public var lemmaDeltaR = 0.5
    public var lemmaSamples = 4000
    /// p: sets of patterns that tell nothing, and their radius.
    public var patternSets = 8
    public var patternRadius = 0.35

    // MARK: Run

    /// Number of seeds, and the first one.
    public var seeds = 5
    public var firstSeed = 0
    /// Threads; 0: one per processor. Results do not depend on it.
    public var threads = 0
    /// float32, or float64 for checks.
    public var precision = Precision.float32
    /// Instruction set; nil: the best of this machine.
    public var instructions: Compute.Instructions?
    /// Probes are taken every so many steps, and at the end.
    public var probeEvery = 10
    /// Samples beyond this many bytes are generated in blocks whenever they are needed.
    public var dataBytes = 1 << 30

    public init() {}

    /// The defaults of an experiment.
    init(_ experiment: ExperimentName) {
        self.experiment = experiment
        if experiment != .multiview { classes = 2 }
    }

    /// K: m kernels for each class, or for each subclass.
    public var kernels: Int { classes * (experiment == .hierarchical ? subclasses : 1) * kernelsPerClass }
    /// kappa = 1 / theta - 1, the weight of the penalty that random masks average to.
    public var kappa: Double { 1 / theta - 1 }
    /// (tau^q - 1) C_p: in the small-weight phase a feature grows when this exceeds kappa.
    public var growth: Double {
        var power = 1.0
        for _ in 0..<self.power { power *= tau }
        return (power - 1) * Double(patchesPerFeature)
    }
}
