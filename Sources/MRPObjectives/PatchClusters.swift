import MRPEngine
import MRPModels

/// k-means on patches: random entries of the sample to begin with, then the mean of what is nearest to each, a fixed number of times. An
/// entry that nothing is nearest to becomes a random patch of the sample.
enum PatchClusters {
    private static let iterations = 20
    private static let patchesPerImage = 16
    /// Images whose patches are cut at once.
    private static let chunk = 64

    /// Some patches of each image, [N, p^2 C].
    static func sample(_ images: Tensor, _ tokenizer: PatchTokenizer, backend: any Backend, seed: UInt64) throws -> Tensor {
        let geometry = tokenizer.geometry
        let (count, values) = (images.shape[0], geometry.patchValues)
        let perImage = min(patchesPerImage, geometry.count)
        let graph = Graph()
        let batch = min(chunk, count)
        let input = graph.input("images", TensorType([batch] + geometry.imageShape), filledBy: .host)
        let patches = try tokenizer.patches(input, ids: nil, graph)
        let program = try backend.compile(graph, outputs: [patches], state: [:])
        let result = try Tensor([count * perImage, values])
        let size = images.count / count
        for first in stride(from: 0, to: count, by: batch) {
            let present = min(batch, count - first)
            try program.write(UnsafeBufferPointer(rebasing: images.float32[size * first..<size * (first + present)]), to: "images")
            try program.run()
            try program.withOutput(patches, as: Float.self) { cut in
                for image in 0..<present {
                    var numbers = UniformNumbers(seed: seed, .clusters, step: -1, place: first + image)
                    for (place, patch) in numbers.shuffled(Array(0..<geometry.count)).prefix(perImage).enumerated() {
                        let (row, source) = ((first + image) * perImage + place, (image * geometry.count + patch) * values)
                        for value in 0..<values { result.float32[row * values + value] = cut[source + value] }
                    }
                }
            }
        }
        return result
    }

    static func fit(_ patches: Tensor, into codebook: Tensor, _ bias: Tensor, backend: any Backend, seed: UInt64) throws {
        let (rows, entries, values) = (patches.shape[0], codebook.shape[0], codebook.shape[1])
        try Memory.check(entries, bytesEach: 8 * values + 64, for: "the sums of \(entries) codebook entries")
        try Memory.check(rows, bytesEach: 64, for: "the order of \(rows) patches")
        guard rows >= entries else {
            throw MRPError(.argument, "codebook_size \(entries) is over the \(rows) patches that the images give to choose from")
        }
        var numbers = UniformNumbers(seed: seed, .clusters, step: -2, place: 0)
        let (sample, centres) = (patches.float32, codebook.float32)
        func copy(_ row: Int, to entry: Int) {
            for value in 0..<values { centres[entry * values + value] = sample[row * values + value] }
        }
        for (entry, row) in numbers.shuffled(Array(0..<rows)).prefix(entries).enumerated() { copy(row, to: entry) }

        let graph = Graph()
        let tokens = try PatchTokenizer.nearest(
            graph.bound("patches", TensorType([1, rows, values])), codebook: graph.bound("codebook", codebook.type),
            bias: graph.bound("bias", bias.type), graph)
        let shaped = try Tensor([1, rows, values])
        shaped.copyElements(of: patches)
        let program = try backend.compile(
            graph, outputs: [tokens], state: ["patches": shaped, "codebook": codebook, "bias": bias])
        var (sums, counts) = ([Double](), [Int]())
        for _ in 0..<iterations {
            updateBias(codebook, bias)
            try program.uploadState()
            try program.run()
            sums = [Double](repeating: 0, count: entries * values)
            counts = [Int](repeating: 0, count: entries)
            try program.withOutput(tokens, as: Int32.self) { nearest in
                for row in 0..<rows {
                    let entry = Int(nearest[row])
                    counts[entry] += 1
                    for value in 0..<values { sums[entry * values + value] += Double(sample[row * values + value]) }
                }
            }
            for entry in 0..<entries {
                guard counts[entry] > 0 else {
                    copy(numbers.integer(below: rows), to: entry)
                    continue
                }
                for value in 0..<values { centres[entry * values + value] = Float(sums[entry * values + value] / Double(counts[entry])) }
            }
        }
        updateBias(codebook, bias)
    }

    private static func updateBias(_ codebook: Tensor, _ bias: Tensor) {
        let (values, centres) = (codebook.shape[1], codebook.float32)
        for entry in 0..<codebook.shape[0] {
            var squares = 0.0
            for value in 0..<values { squares += Double(centres[entry * values + value]) * Double(centres[entry * values + value]) }
            bias.float32[entry] = Float(-squares / 2)
        }
    }
}
