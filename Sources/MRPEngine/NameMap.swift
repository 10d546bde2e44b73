/// Values by name, where names are their bytes: Unicode's equivalence of different bytes plays no part.
public struct NameMap<Value>: Sequence {
    private var storage: [ByteName: Value] = [:]

    public init() {}

    public subscript(name: String) -> Value? {
        get { storage[ByteName(name)] }
        set { storage[ByteName(name)] = newValue }
    }

    public var count: Int { storage.count }
    public var keys: [String] { storage.keys.map(\.text) }
    public var values: Dictionary<ByteName, Value>.Values { storage.values }

    public func makeIterator() -> AnyIterator<(key: String, value: Value)> {
        var iterator = storage.makeIterator()
        return AnyIterator { iterator.next().map { ($0.key.text, $0.value) } }
    }

    /// Sets a value; false, and nothing changes, when the name has one.
    public mutating func insert(_ name: String, _ value: Value) -> Bool {
        let key = ByteName(name)
        guard storage[key] == nil else { return false }
        storage[key] = value
        return true
    }

    public func mapValues<Result>(_ transform: (Value) -> Result) -> NameMap<Result> {
        var result = NameMap<Result>()
        result.storage = storage.mapValues(transform)
        return result
    }
}

extension NameMap: Sendable where Value: Sendable {}

/// A name as its bytes.
public struct ByteName: Hashable, Comparable, Sendable {
    public let text: String

    public init(_ text: String) { self.text = text }

    public static func == (left: ByteName, right: ByteName) -> Bool {
        left.text.utf8.count == right.text.utf8.count && left.text.utf8.elementsEqual(right.text.utf8)
    }

    public static func < (left: ByteName, right: ByteName) -> Bool { left.text.utf8.lexicographicallyPrecedes(right.text.utf8) }

    public func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        hasher.combine(UInt8(0xff))
    }
}
