import MRPOptions

extension Options {
    /// The encoder that the options describe.
    public func encoder() throws -> any ImageEncoder { try Encoders.make(self[NetworkOptions.encoder], self) }

    /// The transformer of a decoder or predictor.
    public func decoder() throws -> TransformerConfiguration {
        let width = self[NetworkOptions.decoderWidth]
        return try TransformerConfiguration(
            width: width, depth: self[NetworkOptions.decoderDepth], heads: self[NetworkOptions.decoderHeads], hidden: hidden(width: width),
            role: "decoder")
    }

    /// Width of the hidden layer in a transformer block.
    func hidden(width: Int) -> Int { max(1, Int((Double(width) * self[NetworkOptions.mlpRatio]).rounded())) }
}
