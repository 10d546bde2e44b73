extension TrainingRun {
    /// Why a run has ended: the words of the C interface.
    public enum End: String, Sendable {
        case finished
        case timeBudget = "time_budget"
        case earlyStopping = "early_stopping"
        /// By `suspend`; its next step goes on.
        case suspended

        /// The same for people.
        public var text: String {
            switch self {
            case .finished: "all steps are done"
            case .timeBudget: "the time budget is used up"
            case .earlyStopping: "the measurements have not become better"
            case .suspended: "it was suspended"
            }
        }
    }
}
