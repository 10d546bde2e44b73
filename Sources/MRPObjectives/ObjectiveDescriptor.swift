import MRPEngine
import MRPModels
import MRPOptions

/// Everything about a pretraining objective beside its losses: it stands in the objective's own file, and options, documents, errors and
/// files are made from it.
public struct ObjectiveDescriptor: Named {
    /// As in option `objective` and in files.
    public let name: String
    /// Paper, as in "He et al. 2021".
    public let source: String
    /// Anything worth a word beside the source, such as "convolutional networks"; empty: nothing.
    public let remark: String
    /// Masks where the options leave them open and the encoder sees tokens; nil: it hides nothing.
    public let usualMasks: MaskChoice?
    /// EMA decay of the teacher in the first and in the last step where the options leave it open; nil: no teacher.
    public let usualTeacherDecay: Teacher.Decay?
    /// Whether it learns from point clouds, else from images.
    public let takesPoints: Bool
    /// Options of its own that it reads, beside those of all objectives.
    public let options: [any OptionDeclaration]
    /// Why an encoder does not fit, as in "needs a vision transformer: ..."; nil: it does.
    public let misfit: @Sendable (any ImageEncoder) -> String?
    public let make: @Sendable (ObjectiveRequest) throws -> any PretrainingObjective
    /// Names of its weights in the spellings of others, where files keep them.
    public let names: [NameRow]
    /// Names in checkpoints of its authors' code, whose encoder is read; nil: there are none.
    public let checkpoint: WrappedNames?
    /// The objective that a configuration describes, nil where it describes none of this kind; no such function: files do not keep it. What
    /// is left out is noted.
    public let read: (@Sendable (ObjectiveFile, _ notes: inout [String]) throws -> (any PretrainingObjective)?)?
    /// The same for a file without a configuration: what its weights tell.
    public let infer: @Sendable (WeightFile, any ImageEncoder, _ notes: inout [String]) throws -> (any PretrainingObjective)?

    public init(
        _ name: String, source: String, remark: String = "", usualMasks: MaskChoice?, usualTeacherDecay: Teacher.Decay? = nil,
        takesPoints: Bool = false, options: [any OptionDeclaration] = [],
        misfit: @escaping @Sendable (any ImageEncoder) -> String? = { _ in nil },
        names: [NameRow] = [], checkpoint: WrappedNames? = nil,
        read: (@Sendable (ObjectiveFile, _ notes: inout [String]) throws -> (any PretrainingObjective)?)? = nil,
        infer: @escaping @Sendable (WeightFile, any ImageEncoder, _ notes: inout [String]) throws -> (any PretrainingObjective)? = {
            _, _, _ in nil
        },
        make: @escaping @Sendable (ObjectiveRequest) throws -> any PretrainingObjective
    ) {
        self.name = name
        self.source = source
        self.remark = remark
        self.usualMasks = usualMasks
        self.usualTeacherDecay = usualTeacherDecay
        self.takesPoints = takesPoints
        self.options = options
        self.misfit = misfit
        self.names = names
        self.checkpoint = checkpoint
        self.read = read
        self.infer = infer
        self.make = make
    }
}

/// An objective that is wanted: for which encoder, with which options.
public struct ObjectiveRequest {
    public let name: String
    public let encoder: any ImageEncoder
    public let options: Options
    public let masks: MaskChoice
    public let usualTeacherDecay: Teacher.Decay
    /// The objective that the model has so far: a decoder of the same kind goes on.
    public let former: (any PretrainingObjective)?

    /// The encoder's tokens or an error; `misfit` has refused others before.
    func tokenEncoder() throws -> any TokenEncoder {
        guard let encoder = encoder.tokenEncoder else {
            throw MRPError(.unsupported, "objective \(name) needs an encoder of tokens")
        }
        return encoder
    }

    func convolutionalEncoder() throws -> any ConvolutionalEncoder {
        guard let encoder = encoder.convolutionalEncoder else {
            throw MRPError(.unsupported, "objective \(name) needs a convolutional network as encoder")
        }
        return encoder
    }

    /// Treatment of hidden cells where the options say it.
    var hiddenCells: HiddenCells? { options[ObjectiveOptions.hiddenCells] }

    /// Settings of a `MaskedStudent`.
    func student() throws -> StudentSettings {
        StudentSettings(
            masks, decoderWidth: options[NetworkOptions.decoderWidth],
            decoder: encoder.tokenEncoder != nil && hiddenCells == .skip ? MaskedDecoder(try options.decoder()) : nil,
            hiddenCells: hiddenCells)
    }

    func teacher() -> Teacher {
        Teacher(
            encoder,
            decay: Teacher.Decay(
                options[ObjectiveOptions.teacherDecay] ?? usualTeacherDecay.start,
                options[ObjectiveOptions.teacherDecayEnd] ?? usualTeacherDecay.end),
            norm: options[ObjectiveOptions.targetNorm])
    }
}

/// The pretraining objectives: one list. A new one is a file with its descriptor, and an entry here.
public enum Objectives {
    public static let registry = Registry<ObjectiveDescriptor>(
        "objective",
        [
            MaskedAutoencoder.descriptor, SparseMaskedModeling.descriptor, SimMIM.descriptor, MaskFeat.descriptor, BEiT.descriptor,
            Data2Vec.descriptor, IJEPA.descriptor, TeacherStudent.descriptor, GivenTargets.descriptor,
            PointMAE.descriptor, Montage.descriptor,
        ])

    /// The objective that the options describe for the model's encoder. A decoder that the model already has goes on.
    public static func make(_ options: Options, for model: Model) throws -> any PretrainingObjective {
        let encoder = model.encoder
        let name = options[ObjectiveOptions.objective] ?? usual(for: encoder)
        let descriptor = try registry.entry(name)
        if encoder.pointGroups != nil, !descriptor.takesPoints {
            throw MRPError(.unsupported, "objective \(name) learns from images: a \(encoder.family.name) takes \(usual(for: encoder))")
        }
        if let misfit = descriptor.misfit(encoder) { throw MRPError(.unsupported, "objective \(name) \(misfit)") }
        // A few coarse cells leave little room for blocks.
        let cells = SparseMaskedModeling.usualMasks
        let usual = encoder.convolutionalEncoder == nil ? descriptor.usualMasks ?? cells : cells
        let masks = MaskChoice(
            options[ObjectiveOptions.maskPattern] ?? usual.pattern, ratio: options[ObjectiveOptions.maskRatio] ?? usual.ratio,
            roundsToNearest: descriptor.usualMasks?.roundsToNearest ?? false)
        let request = ObjectiveRequest(
            name: name, encoder: encoder, options: options, masks: masks,
            usualTeacherDecay: descriptor.usualTeacherDecay ?? Teacher.Decay(1, 1), former: model.objective)
        let objective = try descriptor.make(request)
        if descriptor.usualMasks != nil { try masks.check(encoder.geometry) }
        return objective
    }

    /// Each objective's value of something, grouped by value: "0.75 (mae, ijepa), 0.6 (spark)".
    static func summary(_ value: (ObjectiveDescriptor) -> String?) -> String {
        var groups: [(value: String, names: [String])] = []
        for descriptor in registry.all {
            guard let value = value(descriptor) else { continue }
            if let place = groups.firstIndex(where: { $0.value == value }) {
                groups[place].names.append(descriptor.name)
            } else {
                groups.append((value, [descriptor.name]))
            }
        }
        return groups.map { "\($0.value) (\($0.names.joined(separator: ", ")))" }.joined(separator: ", ")
    }

    /// `auto`: the masked autoencoder of the encoder's kind.
    static func usual(for encoder: any ImageEncoder) -> String {
        if encoder.pointGroups != nil { return PointMAE.name }
        return encoder.convolutionalEncoder == nil ? MaskedAutoencoder.name : SparseMaskedModeling.name
    }
}
