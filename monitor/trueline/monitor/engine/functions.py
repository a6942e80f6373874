"""The functions that rule SQL may call. What is not named here is refused.

ClickHouse has some 1,900 functions, and each release adds more: files, HTTP, dictionaries, models, settings
and the host itself can be reached by a function's name alone. So there is no list of bad ones but one of
those that only compute on the values they are given, cannot make a great deal out of little (``repeat``,
``arrayResize``: a limit of memory would stop them, but there is no need of them), and answer alike on every
server and at every time. Aggregate functions may carry the combinators of :data:`COMBINATORS`. Names are
compared without regard to case, since ClickHouse has many in two spellings.
"""

from __future__ import annotations

import difflib
from typing import Final

_SCALAR: Final = """
array arrayAll arrayAvg arrayCompact arrayConcat arrayCount arrayCumSum arrayCumSumNonNegative
arrayDifference arrayDistinct arrayElement arrayElementOrNull arrayEnumerate arrayEnumerateDense
arrayEnumerateUniq arrayExcept arrayExists arrayFill arrayFilter arrayFirst arrayFirstIndex arrayFirstOrNull
arrayFlatten arrayIntersect arrayJoin arrayLast arrayLastIndex arrayLastOrNull arrayMap arrayMax arrayMin
arrayPopBack arrayPopFront arrayProduct arrayPushBack arrayPushFront arrayRemove arrayReverse
arrayReverseFill arrayReverseSort arrayReverseSplit arrayRotateLeft arrayRotateRight arraySlice arraySort
arraySplit arrayStringConcat arraySum arrayUnion arrayUniq arrayZip countEqual empty emptyArrayString
flatten has hasAll hasAny hasSubstr indexOf length notEmpty notHas range reverse map mapAdd mapAll mapApply
mapConcat mapContains mapContainsKey mapContainsKeyLike mapContainsValue mapExists mapFilter mapFromArrays
mapKeys mapSort mapUpdate mapValues tuple tupleConcat tupleElement

if ifNull ifNotFinite multiIf nullIf coalesce assumeNotNull isNull isNotNull isZeroOrNull toNullable
greatest least clamp and or not xor equals notEquals less lessOrEquals greater greaterOrEquals
isDistinctFrom isNotDistinctFrom like ilike notLike notILike match transform identity ignore materialize

abs ceil ceiling divide divideOrNull exp exp2 exp10 floor gcd intDiv intDivOrNull intDivOrZero isFinite
isInfinite isNaN lcm ln log log10 log1p log2 max2 min2 minus mod modulo moduloOrNull moduloOrZero multiply
negate plus positiveModulo pow power round roundBankers roundDown sign sqrt trunc truncate widthBucket
bitAnd bitCount bitNot bitOr bitShiftLeft bitShiftRight bitTest bitXor

addDays addHours addInterval addMicroseconds addMilliseconds addMinutes addMonths addNanoseconds addQuarters
addSeconds addWeeks addYears age date dateAdd date_add dateDiff date_diff dateName dateSub date_sub
dateTrunc date_trunc formatDateTime fromUnixTimestamp fromUnixTimestamp64Micro fromUnixTimestamp64Milli
fromUnixTimestamp64Nano makeDate makeDateTime makeDateTime64 monthName now now64 parseDateTimeBestEffort
parseDateTimeBestEffortOrNull parseDateTimeBestEffortOrZero parseDateTime64BestEffort
parseDateTime64BestEffortOrNull parseDateTime64BestEffortOrZero subtractDays subtractHours subtractInterval
subtractMicroseconds subtractMilliseconds subtractMinutes subtractMonths subtractNanoseconds
subtractQuarters subtractSeconds subtractWeeks subtractYears timeDiff timeSlot timestampAdd timestamp_add
timestampDiff timestamp_diff timestampSub timestamp_sub toDayOfMonth toDayOfWeek toDayOfYear toHour
toLastDayOfMonth toMillisecond toMinute toMonday toMonth toQuarter toSecond toStartOfDay
toStartOfFifteenMinutes toStartOfFiveMinutes toStartOfHour toStartOfInterval toStartOfMillisecond
toStartOfMinute toStartOfMonth toStartOfQuarter toStartOfSecond toStartOfTenMinutes toStartOfWeek
toStartOfYear toTimezone toUnixTimestamp toUnixTimestamp64Micro toUnixTimestamp64Milli toUnixTimestamp64Nano
toWeek toYear toYYYYMM toYYYYMMDD today yesterday

accurateCast accurateCastOrDefault accurateCastOrNull cast toBool toDate toDateOrNull toDateOrZero toDate32
toDateTime toDateTimeOrNull toDateTimeOrZero toDateTime64 toDateTime64OrNull toDateTime64OrZero toDecimal32
toDecimal64 toDecimal128 toFixedString toFloat32 toFloat32OrNull toFloat32OrZero toFloat64 toFloat64OrNull
toFloat64OrZero toInt8 toInt16 toInt32 toInt64 toInt128 toInt8OrNull toInt16OrNull toInt32OrNull
toInt64OrNull toInt8OrZero toInt16OrZero toInt32OrZero toInt64OrZero toIntervalDay toIntervalHour
toIntervalMicrosecond toIntervalMillisecond toIntervalMinute toIntervalMonth toIntervalNanosecond
toIntervalQuarter toIntervalSecond toIntervalWeek toIntervalYear toLowCardinality toString toTypeName
toUInt8 toUInt16 toUInt32 toUInt64 toUInt128 toUInt8OrNull toUInt16OrNull toUInt32OrNull toUInt64OrNull
toUInt8OrZero toUInt16OrZero toUInt32OrZero toUInt64OrZero toUUID toUUIDOrNull toUUIDOrZero

alphaTokens appendTrailingCharIfAbsent ascii base64Decode base64Encode basename char concat
concatWithSeparator concat_ws countMatches countSubstrings countSubstringsCaseInsensitive domain
domainWithoutWWW editDistance editDistanceUTF8 endsWith endsWithUTF8 extract extractAll extractAllGroups
extractAllGroupsHorizontal extractAllGroupsVertical extractGroups extractURLParameter extractURLParameters
firstLine format hasSubsequence hasToken hasTokenCaseInsensitive hex initcap isValidUTF8 jaroSimilarity
jaroWinklerSimilarity lcase left leftPad leftUTF8 lengthUTF8 levenshteinDistance locate lpad lower lowerUTF8
ltrim multiSearchAny multiSearchAnyCaseInsensitive multiSearchFirstIndex multiSearchFirstPosition
ngramDistance ngramSearch normalizeUTF8NFC path position positionCaseInsensitive positionUTF8 protocol
queryString regexpExtract replace replaceAll replaceOne replaceRegexpAll replaceRegexpOne reverseUTF8 right
rightPad rightUTF8 rpad rtrim splitByChar splitByNonAlpha splitByRegexp splitByString splitByWhitespace
startsWith startsWithUTF8 substr substring substringIndex substringUTF8 toValidUTF8 tokens topLevelDomain
translate trim trimBoth trimLeft trimRight ucase unhex upper upperUTF8 URLHierarchy cutFragment
cutQueryString cutURLParameter cutWWW decodeURLComponent

isValidJSON JSONArrayLength JSONExtract JSONExtractArrayRaw JSONExtractBool JSONExtractFloat JSONExtractInt
JSONExtractKeys JSONExtractKeysAndValues JSONExtractRaw JSONExtractString JSONExtractUInt JSONHas JSONLength
JSONType simpleJSONExtractBool simpleJSONExtractFloat simpleJSONExtractInt simpleJSONExtractRaw
simpleJSONExtractString simpleJSONExtractUInt simpleJSONHas toJSONString

cityHash64 farmHash64 halfMD5 intHash64 MD5 murmurHash3_64 SHA1 SHA256 sipHash64 xxHash64 xxh3 isIPv4String
isIPv6String isIPAddressInRange

bar formatReadableDecimalSize formatReadableQuantity formatReadableSize formatReadableTimeDelta lag lead
neighbor grouping
"""

_AGGREGATE: Final = """
any anyHeavy anyLast any_value argMax argMin avg avgWeighted corr count covarPop covarSamp deltaSum
deltaSumTimestamp entropy exponentialMovingAverage exponentialTimeDecayedAvg first_value groupArray
groupArrayIntersect groupArrayLast groupArrayMovingAvg groupArrayMovingSum groupArraySample groupArraySorted
groupBitAnd groupBitOr groupBitXor groupConcat groupUniqArray histogram intervalLengthSum kurtPop kurtSamp
last_value max maxIntersections maxIntersectionsPosition median medianExact medianTDigest min quantile
quantileDD quantileDeterministic quantileExact quantileExactHigh quantileExactLow quantileExactWeighted
quantileTDigest quantileTDigestWeighted quantileTiming quantiles quantilesDD quantilesExact quantilesTDigest
quantilesTiming retention sequenceCount sequenceMatch simpleLinearRegression singleValueOrNull skewPop
skewSamp sparkbar stddevPop stddevSamp sum sumCount sumKahan sumWithOverflow topK topKWeighted uniq
uniqCombined uniqCombined64 uniqExact uniqHLL12 uniqUpTo varPop varSamp windowFunnel row_number rank
dense_rank percent_rank cume_dist ntile nth_value lagInFrame leadInFrame nonNegativeDerivative
"""

#: Types, which look like calls where they have arguments: ``CAST(x AS Array(String))``.
_TYPES: Final = """
Array DateTime DateTime64 Decimal Decimal32 Decimal64 Decimal128 FixedString LowCardinality Map Nullable
Tuple Enum8 Enum16 Interval
"""

_LAMBDAS: Final = """
arrayall arrayavg arraycount arraycumsum arraycumsumnonnegative arrayexists arrayfill arrayfilter arrayfirst
arrayfirstindex arrayfirstornull arraylast arraylastindex arraylastornull arraymap arraymax arraymin
arrayproduct arrayreversefill arrayreversesort arrayreversesplit arraysort arraysplit arraysum mapall
mapapply mapexists mapfilter mapsort
"""
_SYNTAX: Final = """
all and any array as between by case distinct else except exists exclude filter from full global having in
inner intersect interpolate interval is join last left like ilike limit not null nulls offset on or over
order outer partition prewhere qualify replace right rollup cube sets grouping sample select semi anti asof
cross set step then to union using when where window with
"""

#: Functions whose first argument, where there are more, is a lambda: a bare name there would be called.
TAKE_LAMBDAS: Final = frozenset(_LAMBDAS.split())

#: Words of the grammar after which a parenthesis opens no call.
SYNTAX: Final = frozenset(_SYNTAX.split())

#: Suffixes that ClickHouse adds to any aggregate function.
COMBINATORS: Final = (
    *("If", "Array", "Map", "Distinct", "OrNull", "OrDefault", "Merge", "State", "ForEach"),
    *("ArgMin", "ArgMax", "SimpleState"),
)

AGGREGATE_FUNCTIONS: Final = frozenset(_AGGREGATE.split())
FUNCTIONS: Final = frozenset(_SCALAR.split()) | AGGREGATE_FUNCTIONS
_ALLOWED: Final = {name.lower() for name in (*FUNCTIONS, *_TYPES.split())}
_AGGREGATES: Final = {name.lower() for name in AGGREGATE_FUNCTIONS}
#: What an author may have meant, where spelling does not tell.
_INSTEAD: Final = {
    "arrayresize": "arraySlice",
    "repeat": "concat",
    "datename": "formatDateTime",
    "in": "has(array, value), or the operator IN",
    "uuid": "toUUID",
    "timezone": "toTimezone",
    "arrayreduce": "arraySum, arrayMax, arrayUniq ...",
    "arrayfold": "arraySum, arrayMax, arrayCumSum ...",
}


def is_allowed(name: str) -> bool:
    """Whether rules may call this function, by any spelling ClickHouse takes and with any combinators."""
    folded = name.lower()
    if folded in _ALLOWED:
        return True
    # Suffixes are taken off one by one.
    while True:
        shorter = next(
            (folded.removesuffix(one.lower()) for one in COMBINATORS if folded.endswith(one.lower())), None
        )
        if not shorter:
            return False
        if shorter in _AGGREGATES:
            return True
        folded = shorter


def suggestion(name: str) -> str:
    """What to write instead of a function that is refused, or nothing where nothing is alike."""
    instead = _INSTEAD.get(name.lower())
    if instead is None:
        by_folded = {allowed.lower(): allowed for allowed in FUNCTIONS}
        close = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=0.8)
        instead = by_folded[close[0]] if close else ""
    return f"; did you mean {instead}?" if instead else ""
