import MRPEngine
import MRPOptions

/// One of the laboratory's experiments: its options, its arms and its claims. All draw their samples with `PatchDistribution`, train a
/// `PatchNetwork` and end in a `LabReport`.
protocol Experiment: Sendable {
    /// What a report says of itself.
    var note: String { get }
    var paper: String { get }
    /// Keys of the options that it reads; those of a run (seeds, threads) are everybody's.
    var keys: Set<String> { get }
    /// The first is the experiment's own, whose values differ from the table's defaults.
    var presets: [Preset] { get }
    /// In the order of reports.
    var claims: [any Claim] { get }

    /// Refuses values that do not fit each other.
    func validate(_ options: LabOptions) throws
    /// Multiply-adds of a seed, for progress.
    func cost(_ options: LabOptions) -> Double
    /// Everything for one seed, without the claims' verdicts.
    func run(_ run: SeedRun) throws -> SeedResult
    /// What a study writes for each cell: the columns, and their texts for a result.
    func studyColumns(_ options: LabOptions) -> [String]
    func studyRow(_ result: SeedResult, _ options: LabOptions) -> [String]
}

extension LabOptions {
    /// The experiments by their names, which are those of their presets.
    public enum ExperimentName: String, CaseIterable, Sendable {
        case multiview, hierarchical
        case patchRouting = "patch_routing"
    }

    var definition: any Experiment { Self.experiments[experiment] ?? MultiView() }

    static let experiments: [ExperimentName: any Experiment] = [
        .multiview: MultiView(), .hierarchical: Hierarchical(), .patchRouting: PatchRouting(),
    ]

    /// The claims of the experiment, in the order of reports.
    public var claims: [any Claim] { definition.claims }
}

/// Refuses options of an experiment that do not fit each other.
func require(_ holds: Bool, _ message: @autoclosure () -> String) throws {
    if !holds { throw MRPError(.argument, message()) }
}

/// A part of an experiment that has no type of its own: how it was trained, and the numbers that came of it.
public struct ArmResult: Sendable {
    public let id: String
    public let statement: String
    public let isControl: Bool
    public let numbers: [(name: String, value: Double)]
    public let seconds: Double

    /// NaN, which no threshold admits, for a name that it does not have.
    public func number(_ name: String) -> Double { numbers.first { $0.name == name }?.value ?? .nan }
}
