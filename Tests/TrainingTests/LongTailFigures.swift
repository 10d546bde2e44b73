/// What torch gives for the scores of `LongTailTests.lossesAreTorchs` in float64: cross_entropy(x + log([.5, .25, .25]), y) and
/// cross_entropy(x, y, weight=[2/3, 4/3, 4/3]) with their gradients.
enum LongTailFigures {
    static let adjusted = 2.09885224548435
    static let adjustedGradient = [
        -0.0860072418271665, 0.0275929552033281, 0.0584142866238384, 0.0683274644919598, 0.252437734114392, -0.320765198606351,
        0.043910221100182, -0.311378222783242, 0.26746800168306,
    ]
    static let balanced = 2.43433691035003
    static let balancedGradient = [
        -0.0820404672686375, 0.0263203294293829, 0.0557201378392546, 0.0456780797538378, 0.337517893792536, -0.383195973546374,
        0.028203784264482, -0.371796215735518, 0.343592431471036,
    ]
}
