#!/usr/bin/env bash
# Verifies an AgentGuard log and a checkpoint of it with bash, coreutils and openssl alone (docs/receipt-format.md).
#
#   verify.sh <decisions.ndjson> <key> [<checkpoint>]
#
# <key> is the thumbprint or the public key (43 characters of base64url) that you were told by another way.
# Exit codes: 0 valid, 1 invalid, 2 undecidable or not readable.
#
# Checked: encoding, canonical form and schema of every line, chain, keys, signatures, digests, checkpoint. What these
# tools can't check: the inside of `policy` and `rows` (its digest is), lengths of texts, dates that the calendar lacks,
# and whether an admitted key has a torsion component. docs/verify.py checks these as well.
set -u
export LC_ALL=C

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

line_number=0
finish() { # verdict, cause
  local where=
  [ "$line_number" -gt 0 ] && [ "$1" != valid ] && where=" line $line_number:"
  echo "integrity: $1${2:+:$where $2}"
  [ "$1" = valid ] && printf '%s\n' ${proved:+"$proved"} "log: $log" "head: sha256:$head" "receipts: $log_lines"
  case $1 in valid) exit 0 ;; invalid) exit 1 ;; *) exit 2 ;; esac
}
invalid() { finish invalid "$1"; }
undecidable() { finish undecidable "$1"; }

# --- tools: hashes, keys, signatures --------------------------------------------------------------------------------

unhex() { tr a-f A-F | basenc --base16 -d; }                            # hex -> bytes
bytes() { # hex as an argument -> bytes; for short ones, since it starts no other program
  local escapes= i
  for ((i = 0; i < ${#1}; i += 2)); do escapes+="\\x${1:i:2}"; done
  printf '%b' "$escapes"
}
tohex() { basenc --base16 -w0 | tr A-F a-f; }                           # bytes -> hex
tob64url() { basenc --base64url -w0 | tr -d =; }                        # bytes -> unpadded base64url
sha256() { local hash; read -r hash _ < <(sha256sum) && printf '%s' "$hash"; } # bytes -> hex
thumbprint() { printf '{"crv":"Ed25519","kty":"OKP","x":"%s"}' "$1" | sha256 | unhex | tob64url; }

declare -A known own replaced until_seq public
small='^(01(00){30}(00|80)|ec(ff){30}(7f|ff)|(00){31}(00|80)|26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc[08]5|c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03[7f]a)$'

admit() { # public key as base64url, thumbprint; makes the key usable
  local hex
  [[ $1 =~ ^[A-Za-z0-9_-]{43}$ ]] || return 1
  hex=$(printf '%s=' "$1" | basenc --base64url -d 2>/dev/null | tohex)
  [ "$(printf '%s' "$hex" | unhex | tob64url)" = "$1" ] || return 1
  # Keys that are not in canonical form, or of small order, fit signatures that they never made.
  [[ $hex =~ ^(e[d-f]|f[0-9a-f])(ff){30}(7f|ff)$ || $hex =~ $small ]] && return 1
  printf '302a300506032b6570032100%s' "$hex" | unhex >"$work/$2.der"
  openssl pkey -pubin -inform DER -in "$work/$2.der" -out "$work/$2.pem" 2>/dev/null || return 1
  known[$2]=1 public[$2]=$hex
}

signed() { # thumbprint, file, signature as hex
  [[ $3 =~ ^[0-9a-f]{128}$ && ! $3 =~ ^01(00){31} ]] || return 1
  bytes "$3" >"$work/signature"
  openssl pkeyutl -verify -rawin -pubin -inkey "$work/$1.pem" -in "$2" -sigfile "$work/signature" >/dev/null 2>&1
}

# --- what a line may look like: its schema, as a pattern for its canonical form -------------------------------------

# Before a pattern is tried, every byte above 0x7F becomes x, and every } gets a comma before it: then each member ends
# with a comma, and objects need no case of their own for the last.
string='"([]!#-[^-~ '$'\x7f'']|\\(["\\bfnrt]|u00(0[0-7bef]|1[0-9a-f])))*"'
whole='(0|[1-9][0-9]{0,14}|[1-8][0-9]{15}|900[0-6][0-9]{12}|90070[0-9]{11}|90071[0-8][0-9]{10}|900719[0-8][0-9]{9}|9007199[01][0-9]{8}|90071992[0-4][0-9]{7}|900719925[0-3][0-9]{6}|9007199254[0-6][0-9]{5}|90071992547[0-3][0-9]{4}|9007199254740[0-8][0-9]{2}|90071992547409[0-8][0-9]|900719925474099[01])'
nano='"(0|[1-9][0-9]{0,30})"'
signed_nano='"(0|-?[1-9][0-9]{0,30})"'
digest='"sha256:[0-9a-f]{64}"'
id='"[A-Za-z0-9_-]{22}"'
kid='"[A-Za-z0-9_-]{43}"'
sig='"[0-9a-f]{128}"'
instant='"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"'
record='\{.*\}'
verdict='"(allow|downgrade|block)"'

# Each of these sets the variable that is named first.
list() { printf -v "$1" '\\[(%s(,%s)*)?\\]' "$2" "$2"; }
object() { # variable, name=pattern ...: a ? behind a name for those that may be missing
  local variable=$1 each name members= all_optional=1 i
  local -a sorted=()
  shift
  for each; do
    for ((i = ${#sorted[@]}; i > 0; i--)); do
      [[ ${each%%=*} < ${sorted[i - 1]%%=*} ]] || break
      sorted[i]=${sorted[i - 1]}
    done
    sorted[i]=$each
  done
  for each in "${sorted[@]}"; do
    name=${each%%=*}
    if [ "${name%\?}" = "$name" ]; then all_optional= members+="\"$name\":${each#*=},"; else members+="(\"${name%\?}\":${each#*=},)?"; fi
  done
  printf -v "$variable" '\\{(%s%s)\\}' "$members" "${all_optional:+|,}"
}
declare -A pattern
payload() { # type, name=pattern ...: sets the pattern of that type
  local kind=$1 link="previousReceiptHash=$digest"; shift
  [ "$kind" != genesis ] || link=
  object "pattern[$kind]" "clock_back_ms?=$whole" "durable_seq?=$whole" "issued_at=$instant" "issuer_id=$kid" "log=$id" \
    "seq=$whole" "type=\"$kind\"" 'v=1' ${link:+"$link"} "$@"
}

list texts "$string"
list wholes "$whole"
list digests "$digest"
list spans "\[$whole,$whole\]"
list balances "\[$whole,$nano,$nano\]"
list amounts "\[$whole,$nano\]"
list rungs "\[$whole,$string\]"
list accounts "\[$string,$whole\]"
object scope "agentId?=$string" "task?=$string" "taskId?=$string" "teamId?=$string" "tenantId?=$string" "userId?=$string"
object certificate "issued_at=$instant" "root=$kid" "sig=$sig"
object cost "amount=$nano" 'byok?=true' "computed?=$nano" "fee?=$nano" "reported?=$nano" \
  'source="(provider|tokens|estimate|hold|none)"' "upstream?=$nano"
object served 'fallback?=true' "model?=$string" "provider?=$string"
object usage "cache_read_audio_tokens?=$whole" "cache_read_tokens?=$whole" "cache_write_hour_tokens?=$whole" \
  "cache_write_tokens?=$whole" "input_audio_tokens?=$whole" "input_image_tokens?=$whole" "input_tokens=$whole" \
  "output_audio_tokens?=$whole" "output_image_tokens?=$whole" "output_tokens=$whole" "reasoning_tokens?=$whole"
object capability "caps=$texts" "exp=$whole" "iss?=$string" "jti?=$string" "max?=$nano" "nbf?=$whole" "problem?=$string" \
  'replayed?=true' 'sha256="[0-9a-f]{64}"' "sub?=$string"
list capabilities "$capability"
object request 'audio?=true' "cached_tokens?=$whole" "capabilities?=$capabilities" 'ceiling_can_be_set?=true' \
  "choices?=$whole" "claims?=$texts" "fallbacks?=$texts" "features?=$texts" "fixed_cost?=$nano" 'hour_cache?=true' \
  "images?=$whole" "input_tokens?=$whole" 'limit_can_be_set?=true' "max_output_tokens?=$whole" "model=$string" \
  "provider?=$string" "reasoning_tokens?=$whole" "unbounded_input?=$string"
object max_price "input?=$string" "output?=$string" "request?=$string"
object route "fallbacks?=$texts" 'limit="(own|injected|clamped|model|none)"' "max_output_tokens?=$whole" \
  "max_price?=$max_price" "model=$string"
object shadow "decision=$verdict" "reason=$string"
settled=("call=$id" 'currency="USD"' 'scale=9' "provider_ref?=$string" "unknown_usage?=$string" "cost=$cost" \
  'outcome="(ok|error|refused|aborted|abandoned|not_sent|expired)"' "served?=$served" "usage?=$usage")
payload genesis "certificate?=$certificate" "ledger=$string" "public_key=$string" "sdk=$string"
payload key "kid=$kid" "proof=$sig" "public_key=$string" "replaces?=$kid"
payload policy "digest=$digest" "policy=$record"
payload prices "digest=$digest" 'rows=\[.*\]'
payload decision "approved?=$wholes" "call=$id" "caps=$balances" 'currency="USD"' 'scale=9' "decision=$verdict" \
  "decisive_cap?=$whole" "decisive_rule?=\[$whole,$whole\]" "frozen?=$scope" "granted?=$amounts" "hold=$nano" \
  "lease_until?=$instant" "not_effective?=$wholes" "policies=$digests" "prices?=$digest" "reason=$string" \
  "request=$request" 'require_tenant?=true' "route?=$route" "rules=$whole" "rungs?=$rungs" "scope=$scope" \
  "scope_conflict?=$string" "shadow?=$shadow" "spans=$spans" "uncarried?=$texts" "uncounted?=$wholes"
payload grant "amount=$nano" "by?=$string" "cap=$whole" 'currency="USD"' 'scale=9' "policy=$string" "reason?=$string" \
  "scope=$scope" "until=$instant" "window=$string"
payload freeze "by?=$string" 'frozen=(true|false)' "reason?=$string" "scope=$scope"
payload approval "by?=$string" "call=$id" "cap=$whole" 'currency="USD"' 'scale=9' "hold=$nano" \
  'outcome="(approved|denied|timeout|failed)"' "reason?=$string"
payload alert "amount=$nano" "cap=$whole" 'currency="USD"' 'scale=9' "name=$string" "policy=$string" "share=$whole" \
  "spent=$nano" "until=$whole" "window=$string"
payload settlement "${settled[@]}" "over_hold?=$nano"
payload adjustment "${settled[@]}" "accounts=$accounts" "change=$signed_nano" "previous=$nano"
payload snapshot "body=$digest" "covers=$whole" "covers_hash=$digest"
payload recovered "dropped_bytes=$whole" "dropped_sha256=$digest" "quarantine=$string"
payload clock "from=$instant" "to=$instant"
payload close "open_holds=$whole"

utf8='^(0a|[2-7].|(c[2-9a-f]|d.)[89ab].|e0[ab].[89ab].|(e[1-9a-cef])([89ab].){2}|ed[89].[89ab].|f0[9ab].([89ab].){2}|f[1-3]([89ab].){3}|f48.([89ab].){2})*$'

# The value of a member into a variable. Texts hold no quote that isn't escaped, so only the insides of
# `policy`, `rows` and `certificate` can hold a member of the same name; these are cut out below.
member() { # variable, name
  local rest=${line##*"\"$2\":"}
  rest=${rest#\"}
  printf -v "$1" '%s' "${rest%%[\",\}]*}"
}

# --- the log ----------------------------------------------------------------------------------------------------------

log_file=${1-} pin=${2-} checkpoint=${3-}
[ -r "$log_file" ] && [ -n "$pin" ] || { echo "usage: verify.sh <log> <key> [<checkpoint>]" >&2; exit 2; }
{ [ -z "$checkpoint" ] || [ -r "$checkpoint" ]; } || { echo "$checkpoint can't be read" >&2; exit 2; }

if [ -n "$checkpoint" ]; then
  { IFS= read -r origin && IFS= read -r covered && IFS= read -r root; } <"$checkpoint"
  [[ $origin =~ ^agentguard\.run/log/[A-Za-z0-9_-]{22}$ && $covered =~ ^[1-9][0-9]{0,15}$ && $root =~ ^[A-Za-z0-9+/]{43}=$ ]] ||
    { echo "$checkpoint is no checkpoint" >&2; exit 2; }
  root=$(printf '%s' "$root" | basenc --base64 -d | tohex)
fi

declare -a nodes=()
size=0
add_leaf() { # hash of a leaf; `nodes` are the roots of the perfect trees so far
  local hash=$1 rest=$size
  while ((rest % 2)); do
    hash=$(printf '01%s%s' "${nodes[-1]}" "$hash" | unhex | sha256)
    unset 'nodes[-1]'
    ((rest /= 2))
  done
  nodes+=("$hash")
  size=$((size + 1))
}
tree_root() {
  local hash=${nodes[-1]} index
  for ((index = ${#nodes[@]} - 2; index >= 0; index--)); do hash=$(printf '01%s%s' "${nodes[index]}" "$hash" | unhex | sha256); done
  printf '%s' "$hash"
}

line=$(head -n1 "$log_file" | tr -d '\0')
member shown public_key
if [ "$(thumbprint "$shown")" = "$pin" ] && admit "$shown" "$pin"; then own[$pin]=1
else t=$(thumbprint "$pin"); admit "$pin" "$t" && own[$t]=1; fi

last_byte=$(tail -c1 "$log_file" | tohex)
# Bash drops zero bytes when it reads, so they are looked for beforehand.
zero_line=0
if [ "$(tr -d '\0' <"$log_file" | wc -c)" != "$(wc -c <"$log_file")" ]; then
  while IFS= read -r marks; do zero_line=$((zero_line + 1)); [ -n "$marks" ] && break; done < <(tr -dc '\0\n' <"$log_file" | tr '\0' x; echo x)
fi
[ -s "$log_file" ] || { line_number=1; undecidable 'the log is empty'; }
head= log= time= root_there=

while IFS= read -r line || { [ "$last_byte" != 0a ] && is_cut=1; }; do
  line_number=$((line_number + 1))
  printf '%s' "$line" >"$work/line"
  [ "${#line}" -le 262144 ] || invalid 'the line is too long'
  [ -z "${is_cut-}" ] || undecidable 'the last line has no end'
  [ "$line_number" != "$zero_line" ] || invalid 'the line holds a zero byte'
  [[ $line != *[!\ -$'\x7f']* || $(od -An -v -tx1 "$work/line" | tr -d ' \n') =~ $utf8 ]] ||
    invalid 'the line is not valid UTF-8 without controls'

  body=${line#'{"payload":'} envelope=${line##*',"signature":'}
  body=${body%',"signature":'*}
  plain=$body
  [[ $line != *[!\ -$'\x7f']* ]] || plain=$(printf '%s' "$body" | tr '\200-\377' x)
  member type type
  { [[ $type =~ ^[a-z]+$ ]] && [ -n "${pattern[$type]-}" ]; } || invalid 'unknown receipt type'
  [[ ${plain//\}/,\}} =~ ^${pattern[$type]}$ ]] || invalid "$type: not its schema, or not in canonical form"
  [[ $envelope =~ ^\{\"alg\":\"EdDSA\",\"kid\":\"([^\"\\]*)\",\"sig\":\"([^\"\\]*)\"\}\}$ ]] || invalid 'not the envelope of a receipt'
  signer=${BASH_REMATCH[1]} signature=${BASH_REMATCH[2]}
  [ "{\"payload\":$body,\"signature\":$envelope" = "$line" ] || invalid 'not the envelope of a receipt'

  # The payload without the records in it, of which there is one at most.
  inner= whole_line=$line line=$body
  case $type in
    policy) inner=${body#*',"policy":'} inner=${inner%',"previousReceiptHash":'*} ;;
    prices) inner=${body#*',"rows":'} inner=${inner%',"seq":'*} ;;
    genesis) [[ $body == '{"certificate":{'* ]] && inner=${body#*:} && inner=${inner%%\}*} ;;
  esac
  [ -z "$inner" ] || line=${body%%"$inner"*}${body#*"$inner"}
  member seq seq; member issued issued_at; member issuer issuer_id; member log_here log; member previous previousReceiptHash
  durable=
  [[ $line == *'"durable_seq":'* ]] && member durable durable_seq
  if [ "$line_number" = 1 ]; then
    [ "$type" = genesis ] && [ "$seq" = 0 ] || invalid 'the log does not begin with its genesis receipt'
  else
    [ "$type" != genesis ] || invalid 'a second genesis receipt'
    [ "$log_here" = "$log" ] || invalid "the receipt belongs to log $log_here"
    [ "$seq" = $((line_number - 1)) ] || invalid "seq is $seq, expected $((line_number - 1))"
    [ "$previous" = "sha256:$head" ] || invalid 'previousReceiptHash is not the hash of the line before'
    [ "$type" = clock ] || [[ ! $issued < $time ]] || invalid 'issued_at goes backwards'
    [ -z "$durable" ] || [ "$durable" -le $((line_number - 2)) ] || invalid 'durable_seq is ahead of the log'
  fi

  [ "$signer" = "$issuer" ] || invalid 'signature.kid is not issuer_id'
  [ -z "${replaced[$issuer]-}" ] || invalid 'signed by a key that was replaced before'
  [ -n "${known[$issuer]-}" ] || undecidable "signed by the unknown key $issuer"
  printf '%s' "$body" >"$work/payload"
  signed "$issuer" "$work/payload" "$signature" || invalid 'the signature does not fit the payload'

  case $type in
    genesis)
      member key public_key
      [ "$(thumbprint "$key")" = "$issuer" ] || invalid "public_key is not the issuer's" ;;
    policy | prices)
      member named digest
      [ "$named" = "sha256:$(printf '%s' "$inner" | sha256)" ] || invalid "digest is not that of the $type" ;;
    clock)
      member from from; member to to
      { [ "$to" = "$issued" ] && [ "$from" = "$time" ]; } || invalid 'from and to are not the times around it' ;;
  esac
  case $type in key | snapshot | recovered | clock | freeze | grant)
    [ -n "${own[$issuer]-}" ] || invalid "a $type receipt may be signed only by the log's own key" ;;
  esac
  if [ "$type" = key ]; then
    member new kid; member key public_key; member proof proof
    old=
    [[ $body == *'"replaces":'* ]] && member old replaces
    [ "$(thumbprint "$key")" = "$new" ] || invalid 'kid is not the thumbprint of public_key'
    [ -z "${replaced[$new]-}" ] || invalid 'it admits a key that was replaced before'
    admit "$key" "$new" || invalid 'a public key that may not be'
    printf '{"kid":"%s","log":"%s","previousReceiptHash":"%s","seq":%s,"type":"agentguard:key-proof"}' "$new" "$log" "$previous" "$seq" >"$work/proof"
    signed "$new" "$work/proof" "$proof" || invalid 'the new key did not prove that its holder has it'
    if [ -n "$old" ]; then
      { [ "$old" != "$new" ] && [ -n "${known[$old]-}" ]; } || invalid 'it replaces a key that the log had not admitted'
      [ -n "${own[$old]-}" ] && own[$new]=1 until_seq[$old]=$seq
      unset "known[$old]" "own[$old]"
      replaced[$old]=1
    fi
  fi

  read -r head _ < <(sha256sum <"$work/line")
  line=$whole_line log=$log_here time=$issued
  if [ -n "$checkpoint" ]; then
    if [ "$size" -lt "$covered" ]; then add_leaf "$({ printf '\0'; cat "$work/line"; } | sha256)"; fi
    [ "$size" = "$covered" ] && [ -z "$root_there" ] && root_there=$(tree_root)
  fi
done <"$log_file"

log_lines=$line_number
# --- the checkpoint ---------------------------------------------------------------------------------------------------

line_number=0
if [ -n "$checkpoint" ]; then
  [ "$origin" = "agentguard.run/log/$log" ] || not_this_log=1
  # The text that is signed ends with its own newline; then come a blank line and the signatures.
  mapfile -t note <"$checkpoint"
  for ((text_lines = ${#note[@]}; text_lines > 0; text_lines--)); do [ -n "${note[text_lines - 1]}" ] || break; done
  head -n $((text_lines - 1)) "$checkpoint" >"$work/text"
  is_signed=
  for owner in "${!own[@]}" "${!until_seq[@]}"; do
    key_id=$({ printf '%s\n\1' "$origin"; printf '%s' "${public[$owner]}" | unhex; } | sha256 | cut -c1-8)
    while IFS=' ' read -r _dash name encoded; do
      hex=$(printf '%s' "$encoded" | basenc --base64 -d 2>/dev/null | tohex)
      { [ "$name" = "$origin" ] && [ "${hex:0:8}" = "$key_id" ]; } || continue
      signed "$owner" "$work/text" "${hex:8}" || undecidable "the checkpoint's signature does not fit its text"
      if [ -z "${until_seq[$owner]-}" ] || [ $((covered - 1)) -le "${until_seq[$owner]}" ]; then is_signed=1; fi
    done < <(tail -n +$((text_lines + 1)) "$checkpoint")
  done
  [ -n "$is_signed" ] || undecidable 'the checkpoint is signed by no key that counts here'
  [ -z "${not_this_log-}" ] || invalid "this is log $log, and the checkpoint is of $origin"
  [ -n "$root_there" ] || invalid "lines were cut: $size are left of the checkpoint's $covered"
  [ "$root_there" = "$root" ] || invalid 'the log was rewritten: its root is not that of the checkpoint'
  proved="checkpoint: the log is whole up to #$((covered - 1))"
fi
finish valid
