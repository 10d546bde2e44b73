/// A statement of a paper with what it means at finite size: one small type each, listed by its experiment.
public protocol Claim: Sendable {
    /// A stable name for programs, for example `all_semantics_captured`.
    var id: String { get }
    /// The statement in one sentence.
    var statement: String { get }
    /// The claim's quantities in a seed's results; empty when the part it speaks of was not run.
    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check]
}
