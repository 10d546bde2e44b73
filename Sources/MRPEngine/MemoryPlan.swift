/// Places of all intermediate values of a graph in one arena: lifetimes are known, so offsets are chosen once, before step 1.
///
/// Values whose lifetimes do not overlap share memory; an operation may take over the memory of an input that nobody reads
/// afterwards (`Operation.reusableInputs`), which saves memory and a pass over it for residual sums.
public struct MemoryPlan {
    static let alignment = 64

    /// Bytes of the arena.
    public private(set) var arenaBytes = 0
    /// Bytes of the inputs that the host fills.
    public private(set) var inputBytes = 0
    /// Nodes that contribute to the outputs or update bound tensors, in order; the update stage comes last.
    let schedule: [Int]
    /// First place of the update stage in `schedule`.
    let firstUpdate: Int
    private(set) var offsets: [Value: Int] = [:]
    let inputs: [Value]

    init(_ graph: Graph, outputs: [Value], precision: Precision) throws {
        try graph.checkUpdates()
        let needed = Self.neededNodes(graph, outputs: outputs)
        let work = needed.filter { graph.nodes[$0].operation.phase == .work }
        let updates = needed.filter { graph.nodes[$0].operation.phase == .update }
        schedule = work + updates
        firstUpdate = work.count
        inputs = Self.usedInputs(graph, schedule: schedule, outputs: outputs)

        for value in inputs { inputBytes += Self.aligned(graph.type(of: value).bytes(precision)) }
        let blocks = Self.blocks(graph, schedule: schedule, outputs: outputs, precision: precision)
        place(blocks)
    }

    static func aligned(_ bytes: Int) -> Int { (max(bytes, 1) + alignment - 1) / alignment * alignment }

    private static func neededNodes(_ graph: Graph, outputs: [Value]) -> [Int] {
        var needed = Set<Int>()
        var pending = outputs.compactMap { graph.producer(of: $0) }
        pending += graph.nodes.indices.filter { !graph.nodes[$0].operation.updatedInputs.isEmpty }
        while let index = pending.popLast() {
            guard needed.insert(index).inserted else { continue }
            pending += graph.nodes[index].inputs.compactMap { $0.flatMap { graph.producer(of: $0) } }
        }
        return needed.sorted()
    }

    private static func usedInputs(_ graph: Graph, schedule: [Int], outputs: [Value]) -> [Value] {
        var used = Set(outputs)
        for index in schedule { used.formUnion(graph.nodes[index].inputs.compactMap { $0 }) }
        return used.filter { if case .input = graph.origins[$0.id] { true } else { false } }.sorted { $0.id < $1.id }
    }

    /// A piece of memory that one value, or a chain of values that take it over, holds from node `first` to node `last`.
    private struct Block {
        var values: [Value]
        var bytes: Int
        var first: Int
        var last: Int
    }

    private static func blocks(_ graph: Graph, schedule: [Int], outputs: [Value], precision: Precision) -> [Block] {
        var lastUse: [Value: Int] = [:]
        for (position, index) in schedule.enumerated() {
            for input in graph.nodes[index].inputs.compactMap({ $0 }) { lastUse[input] = position }
        }
        for output in outputs { lastUse[output] = schedule.count }

        var blocks: [Block] = []
        var blockOf: [Value: Int] = [:]
        for (position, index) in schedule.enumerated() {
            let node = graph.nodes[index]
            for (number, output) in node.outputs.enumerated() {
                let bytes = aligned(graph.type(of: output).bytes(precision))
                let last = lastUse[output] ?? position
                let taken = number == 0 ? reusedInput(node, at: position, lastUse, blockOf, blocks, bytes: bytes) : nil
                if let taken {
                    blocks[taken].values.append(output)
                    blocks[taken].last = last
                    blockOf[output] = taken
                } else {
                    blockOf[output] = blocks.count
                    blocks.append(Block(values: [output], bytes: bytes, first: position, last: last))
                }
            }
        }
        return blocks
    }

    private static func reusedInput(
        _ node: Graph.Node, at position: Int, _ lastUse: [Value: Int], _ blockOf: [Value: Int], _ blocks: [Block], bytes: Int
    ) -> Int? {
        for index in node.operation.reusableInputs where index < node.inputs.count {
            guard let input = node.inputs[index], let block = blockOf[input] else { continue }
            let isReadElsewhere = node.inputs.filter { $0 == input }.count > 1
            if lastUse[input] == position, blocks[block].last == position, blocks[block].bytes == bytes, !isReadElsewhere {
                return block
            }
        }
        return nil
    }

    /// Largest first, each at the lowest offset that is free during its lifetime.
    private mutating func place(_ blocks: [Block]) {
        var placed: [(offset: Int, block: Block)] = []
        let order = blocks.indices.sorted { (blocks[$0].bytes, -$0) > (blocks[$1].bytes, -$1) }
        for index in order {
            let block = blocks[index]
            var offset = 0
            for other in placed where other.block.first <= block.last && block.first <= other.block.last {
                if offset + block.bytes <= other.offset { break }
                offset = max(offset, other.offset + other.block.bytes)
            }
            let position = placed.firstIndex { $0.offset > offset } ?? placed.count
            placed.insert((offset, block), at: position)
            for value in block.values { offsets[value] = offset }
            arenaBytes = max(arenaBytes, offset + block.bytes)
        }
    }
}
