import Glibc

// The definitions of arXiv 2206.03826 as plain loops in float64, against which the fast kernels are checked.

/// The smoothed ReLU f and its derivative.
func activation(_ z: Double, q: Int, radius: Double) -> (value: Double, slope: Double) {
    if z <= 0 { return (0, 0) }
    if z >= radius { return (z - (1 - 1 / Double(q)) * radius, 1) }
    return (pow(z, Double(q)) / (Double(q) * pow(radius, Double(q - 1))), pow(z / radius, Double(q - 1)))
}

struct ReferenceNetwork {
    var kernels, dimension, patches, q: Int
    var radius: Double

    func score(_ w: [Double], _ r: Int, _ x: [Double], _ n: Int, _ p: Int) -> Double {
        (0..<dimension).reduce(0) { $0 + w[r * dimension + $1] * x[(n * patches + p) * dimension + $1] }
    }

    /// h_r(X_n) with weights factor w.
    func feature(_ w: [Double], _ r: Int, _ x: [Double], _ n: Int, factor: Double = 1) -> Double {
        (0..<patches).reduce(0) { $0 + activation(factor * score(w, r, x, n, $1), q: q, radius: radius).value }
    }

    /// Loss and gradient of pretraining; `keeps` (n x P) for sampled masks, nil for the average over masks.
    func reconstruction(
        _ w: [Double], _ x: [Double], samples: Int, tau: Double, theta: Double, keeps: [Bool]?, teacher: [Double]? = nil
    ) -> (loss: Double, gradient: [Double]) {
        var loss = 0.0
        var gradient = [Double](repeating: 0, count: kernels * dimension)
        let kappa = 1 / theta - 1
        for n in 0..<samples {
            for r in 0..<kernels {
                let target = teacher?[n * kernels + r] ?? feature(w, r, x, n, factor: tau)
                var student = 0.0
                var squares = 0.0
                for p in 0..<patches where keeps?[n * patches + p] ?? true {
                    let f = activation(score(w, r, x, n, p), q: q, radius: radius).value
                    student += keeps == nil ? f : f / theta
                    squares += f * f
                }
                loss += (target - student) * (target - student) + (keeps == nil ? kappa * squares : 0)
                for p in 0..<patches where keeps?[n * patches + p] ?? true {
                    let (f, slope) = activation(score(w, r, x, n, p), q: q, radius: radius)
                    let factor = keeps == nil ? slope * (kappa * f - (target - student)) : -(target - student) * slope / theta
                    for j in 0..<dimension {
                        gradient[r * dimension + j] += factor * x[(n * patches + p) * dimension + j] / Double(samples)
                    }
                }
            }
        }
        return (loss / (2 * Double(samples)), gradient)
    }

    /// Cross entropy with a linear head and the gradients of encoder and head.
    func classifier(
        _ w: [Double], _ u: [Double], _ x: [Double], _ labels: [Int32], classes: Int
    ) -> (loss: Double, weights: [Double], head: [Double], correct: Int) {
        let samples = labels.count
        var loss = 0.0
        var correct = 0
        var weightGradient = [Double](repeating: 0, count: kernels * dimension)
        var headGradient = [Double](repeating: 0, count: classes * kernels)
        for n in 0..<samples {
            let h = (0..<kernels).map { feature(w, $0, x, n) }
            let logits = (0..<classes).map { i in (0..<kernels).reduce(0) { $0 + u[i * kernels + $1] * h[$1] } }
            let top = logits.max() ?? 0
            let sum = logits.reduce(0) { $0 + exp($1 - top) }
            loss += top + log(sum) - logits[Int(labels[n])]
            if logits.firstIndex(of: top) == Int(labels[n]) { correct += 1 }
            let errors = (0..<classes).map { (exp(logits[$0] - top) / sum - ($0 == Int(labels[n]) ? 1 : 0)) / Double(samples) }
            for r in 0..<kernels {
                var error = 0.0
                for i in 0..<classes {
                    headGradient[i * kernels + r] += errors[i] * h[r]
                    error += errors[i] * u[i * kernels + r]
                }
                for p in 0..<patches {
                    let slope = activation(score(w, r, x, n, p), q: q, radius: radius).slope
                    for j in 0..<dimension {
                        weightGradient[r * dimension + j] += error * slope * x[(n * patches + p) * dimension + j]
                    }
                }
            }
        }
        return (loss / Double(samples), weightGradient, headGradient, correct)
    }
}
