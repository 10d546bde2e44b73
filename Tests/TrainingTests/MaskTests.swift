import MRPEngine
import MRPModels
import MRPObjectives
import Testing

/// The patterns of masks: exact counts, the shapes that their papers describe, and the same masks for the same seed and step.
@Suite struct MaskTests {
    static func geometry(_ rows: Int, _ columns: Int) throws -> PatchGeometry {
        try PatchGeometry(channels: 1, height: rows, width: columns, patchHeight: 1, patchWidth: 1)
    }

    static func masks(_ pattern: MaskPattern, _ geometry: PatchGeometry, visible: Int, step: Int = 0, seed: UInt64 = 1) throws -> [[Bool]] {
        let mask = try pattern.mask(geometry, visibleCount: visible, slice: BatchSlice(whole: 16), seed: seed, step: step)
        return (0..<16).map { mask.hidden(image: $0) }
    }

    @Test(arguments: MaskPattern.allCases, [(8, 8), (14, 14), (4, 7), (3, 3)])
    func countsAreExact(_ pattern: MaskPattern, _ size: (Int, Int)) throws {
        let geometry = try Self.geometry(size.0, size.1)
        for visible in [1, geometry.count / 4, geometry.count / 2, geometry.count - 1] {
            if pattern == .multiBlock, size == (3, 3) {
                // The smallest grid with blocks: four single patches.
                #expect(try TargetBlocks(gridHeight: 3, gridWidth: 3).size == 1)
            }
            let masks = try Self.masks(pattern, geometry, visible: visible)
            #expect(masks.allSatisfy { $0.count { !$0 } == visible })
            #expect(Set(masks).count > 1 || geometry.count < 10, "all images hide the same")
            #expect(try Self.masks(pattern, geometry, visible: visible) == masks)
            if geometry.count > 50, visible > 1 {
                #expect(try Self.masks(pattern, geometry, visible: visible, step: 1) != masks)
                #expect(try Self.masks(pattern, geometry, visible: visible, seed: 2) != masks)
            }
        }
    }

    /// A quarter stays: the same place of each square of four.
    @Test func gridKeepsOneOfFour() throws {
        for mask in try Self.masks(.grid, Self.geometry(8, 6), visible: 12) {
            let visible = mask.indices.filter { !mask[$0] }
            let first = (visible[0] / 6 % 2, visible[0] % 6 % 2)
            #expect(visible.allSatisfy { ($0 / 6 % 2, $0 % 6 % 2) == first })
        }
    }

    /// Neighbours of hidden patches are hidden more often than at random.
    @Test(arguments: [MaskPattern.block, .multiBlock])
    func blocksHangTogether(_ pattern: MaskPattern) throws {
        func share(_ pattern: MaskPattern) throws -> Double {
            var (alike, all) = (0, 0)
            for mask in try Self.masks(pattern, Self.geometry(14, 14), visible: 98) {
                for patch in mask.indices where patch % 14 < 13 && mask[patch] {
                    all += 1
                    alike += mask[patch + 1] ? 1 : 0
                }
            }
            return Double(alike) / Double(all)
        }
        #expect(try share(pattern) > share(.random) + 0.2)
    }

    @Test func targetBlocksHaveOneSize() throws {
        let blocks = try TargetBlocks(gridHeight: 8, gridWidth: 8)
        #expect(blocks.size == 12)
        #expect(blocks.shapes == [[3, 4], [4, 3]])
        #expect(blocks.sureContext == 16)
        let large = try TargetBlocks(gridHeight: 14, gridWidth: 14)
        #expect(Double(large.size) >= 0.15 * 196 && Double(large.size) <= 0.2 * 196)
        #expect(large.shapes.allSatisfy { Double($0[0]) >= 0.75 * Double($0[1]) && Double($0[0]) <= 1.5 * Double($0[1]) })
        #expect(throws: MRPError.self) { try TargetBlocks(gridHeight: 1, gridWidth: 2) }
    }

    /// What I-JEPA fills in: a context that no target touches, of the right sizes, within the image.
    @Test func contextsAndTargetsAreApart() throws {
        let encoder = VisionTransformer(
            geometry: try PatchGeometry(channels: 1, height: 16, width: 16, patchHeight: 2, patchWidth: 2),
            transformer: try TransformerConfiguration(width: 8, depth: 1, heads: 1))
        let predictor = try TransformerConfiguration(width: 8, depth: 1, heads: 1)
        let objective = try IJEPA(encoder, predictor: predictor, maskRatio: 0.75, beta: 1, teacher: Teacher(encoder, decay: .init(1, 1)))
        let model = try Model(encoder: encoder, objective: objective, seed: 1)
        let graph = Graph()
        let loss = try objective.loss(model.builder(graph), batch: 4)
        let program = try CPUProgram(graph, outputs: [loss], state: model.parameters.tensors, compute: Compute())
        let indices: [Int64] = [0, 1, 2, 3]
        let isReady = try indices.withUnsafeBufferPointer {
            try objective.prepare(TrainingStep(BatchSlice(whole: 4), seed: 3, step: 5, indices: $0), program)
        }
        #expect(isReady)
        func input(_ name: String) throws -> [Int32] {
            try #require(try program.withInput(name, as: Int32.self) { Array($0) })
        }
        let context = try input(PatchMask.visibleInput)
        #expect(context.count == 4 * 16 && context.allSatisfy { $0 >= 0 && $0 < 64 })
        for image in 0..<4 {
            let seen = Set(context[image * 16..<(image + 1) * 16])
            #expect(seen.count == 16)
            for block in 0..<4 {
                let rows = try input("target_rows_\(block)")[image * 12..<(image + 1) * 12]
                #expect(Set(rows).count == 12 && rows.allSatisfy { $0 >= 1 && $0 <= 64 && !seen.contains($0 - 1) })
                let positions = try input("predictor_positions_\(block)")[image * 29..<(image + 1) * 29]
                #expect(positions.first == 0)
                #expect(Array(positions.suffix(12)) == Array(rows))
            }
        }
        #expect(throws: MRPError.self) {
            try IJEPA(encoder, predictor: predictor, maskRatio: 0.5, beta: 1, teacher: Teacher(encoder, decay: .init(1, 1)))
        }
    }
}
