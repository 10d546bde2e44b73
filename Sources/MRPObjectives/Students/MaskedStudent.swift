import MRPEngine
import MRPModels

/// The student that SimMIM, MaskFeat, BEiT, data2vec and given targets share: it sees a masked image and predicts something about each
/// hidden patch. What that is, is the objective's.
public protocol MaskedStudent: Sendable {
    var encoder: any ImageEncoder { get }
    /// Numbers that are predicted for a patch.
    var outputs: Int { get }
    var masks: MaskChoice { get }

    /// The weights that it has beside the encoder's.
    var parameters: [ParameterSpecification] { get }

    /// Predictions [B, M, outputs] at the hidden patches of the images.
    func prediction(_ images: Value, _ builder: NetworkBuilder, batch: Int) throws -> Value
}

extension MaskedStudent {
    var geometry: PatchGeometry { encoder.geometry }

    /// The hidden patches [B, M], as indices.
    func hidden(_ graph: Graph, batch: Int) throws -> Value {
        graph.input(PatchMask.hiddenInput, TensorType([batch, try masks.hiddenCount(geometry)], .int32), filledBy: .masks)
    }

    /// The hidden patches [B, M], as rows among the tokens of an encoder, which may begin with a class token.
    func hiddenRows(_ graph: Graph, batch: Int) throws -> Value {
        let input = encoder.hasClassToken ? PatchMask.hiddenRowsInput : PatchMask.hiddenInput
        return graph.input(input, TensorType([batch, try masks.hiddenCount(geometry)], .int32), filledBy: .masks)
    }

    func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool { try masks.prepare(step, geometry, program) }
}

/// Settings of a student that an objective asks for.
public struct StudentSettings: Equatable, Sendable {
    public let masks: MaskChoice
    /// Channels of the decoder of convolutional networks.
    public let decoderWidth: Int
    /// The decoder of a vision transformer that skips hidden patches.
    public let decoder: MaskedDecoder?
    /// nil: mask tokens in a vision transformer, in a convolutional network `skip`.
    public let hiddenCells: HiddenCells?

    public init(_ masks: MaskChoice, decoderWidth: Int = 128, decoder: MaskedDecoder? = nil, hiddenCells: HiddenCells? = nil) {
        self.masks = masks
        self.decoderWidth = decoderWidth
        self.decoder = decoder
        self.hiddenCells = hiddenCells
    }

    /// The student of this encoder, whose parameters' names begin with `name`. Throws when the encoder cannot be one.
    func student(_ encoder: any ImageEncoder, _ name: String, outputs: Int) throws -> any MaskedStudent {
        if let encoder = encoder.tokenEncoder { return try tokenStudent(encoder, name, outputs: outputs) }
        guard let encoder = encoder.convolutionalEncoder else {
            throw MRPError(.unsupported, "objective \(name) needs an encoder of tokens or of stages, which can leave hidden patches out")
        }
        return try MaskedCellStudent(
            network: encoder, name: name, outputs: outputs, masks: masks, decoderWidth: decoderWidth, hiddenCells: hiddenCells ?? .skip)
    }

    private func tokenStudent(_ encoder: any TokenEncoder, _ name: String, outputs: Int) throws -> any MaskedStudent {
        switch (hiddenCells, decoder) {
        case (nil, _), (.token, _): return MaskTokenStudent(transformer: encoder, name: name, outputs: outputs, masks: masks)
        case (.skip, let decoder?):
            return VisiblePatchStudent(transformer: encoder, name: name, outputs: outputs, masks: masks, decoder: decoder)
        case (.skip, nil):
            throw MRPError(
                .argument, "hidden_cells skip in a vision transformer needs a decoder: its encoder sees visible patches only")
        case (.zero, _):
            throw MRPError(.argument, "hidden_cells zero is for convolutional networks: in a vision transformer it is skip or token")
        }
    }
}
