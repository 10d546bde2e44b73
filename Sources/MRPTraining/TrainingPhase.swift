import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

extension Phase {
    /// The objective of this phase, with its weights in the model: in pretraining what option `objective` names, in fine-tuning that of the
    /// head that option `task` names.
    func attachObjective(
        to model: Model, _ dataset: any ImageDataset, _ options: Options
    ) throws -> any TrainingObjective {
        switch self {
        case .pretrain:
            let objective = try Objectives.make(options, for: model)
            try model.attach(objective, seed: options.seed)
            return objective
        case .finetune:
            let descriptor = try Heads.registry.entry(options[ObjectiveOptions.task])
            let request = HeadRequest(encoder: model.encoder, dataset: dataset, options: options)
            let head = try descriptor.make(request)
            if model.head?.isSame(as: head) != true { try model.attach(head, seed: options.seed) }
            model.classNames = dataset.classNames
            // A decoder belongs to the encoder as it was; fine-tuning changes the encoder.
            model.detachObjective()
            return try descriptor.objective(head, request)
        }
    }
}
