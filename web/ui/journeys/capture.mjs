// Calls as a mirror port shows them, in a capture file: SIP and G.711 with a tone for each side, and texts of anybody's choice.

const LEFT_HZ = 440;
const RIGHT_HZ = 1000;
export { LEFT_HZ, RIGHT_HZ };

/** G.711 mu-law (ITU-T G.711) of a sample of 16 bits. */
function muLaw(sample) {
  const sign = sample < 0 ? 0x80 : 0;
  const value = Math.min(Math.abs(sample), 32635) + 132;
  const exponent = Math.max(0, Math.floor(Math.log2(value)) - 7);
  return ~(sign | (exponent << 4) | ((value >> (exponent + 3)) & 0x0f)) & 0xff;
}

function frame(from, to, payload) {
  const ip = (text) => text.split(".").map(Number);
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(from.port, 0);
  udp.writeUInt16BE(to.port, 2);
  udp.writeUInt16BE(8 + payload.length, 4);
  const head = Buffer.alloc(20);
  head[0] = 0x45;
  head.writeUInt16BE(28 + payload.length, 2);
  head[8] = 64;
  head[9] = 17;
  head.set(ip(from.ip), 12);
  head.set(ip(to.ip), 16);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += head.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  head.writeUInt16BE(~sum & 0xffff, 10);
  const ethernet = Buffer.from("02000000000202000000000108" + "00", "hex");
  return Buffer.concat([ethernet, head, udp, payload]);
}

/** A call of so many seconds that begins at `at_ms`; `texts` are what its messages say of the parties. */
function call(number, at_ms, seconds, texts, put) {
  const phone = { ip: `198.18.${1 + (number >> 7)}.${1 + (number & 127)}`, port: 5060 };
  const pbx = { ip: "192.0.2.10", port: 5060 };
  const ports = { pbx: 10000 + 2 * number, phone: 20000 };
  const quoted = (text) => `"${text.replace(/[\\"]/g, "\\$&").replace(/[\r\n]/g, " ")}"`;
  const plain = (text) => text.replace(/[\r\n]/g, " ");
  const from = `${quoted(texts.caller_name)} <sip:${encodeURIComponent(texts.caller)}@192.0.2.10>;tag=a${number}`;
  const to = `${quoted(texts.callee_name)} <sip:${texts.extension}@192.0.2.10>`;
  const sdp = (ip, port) =>
    [`v=0`, `o=- 1 1 IN IP4 ${ip}`, `s=${plain(texts.any)}`, `c=IN IP4 ${ip}`, `t=0 0`, `m=audio ${port} RTP/AVP 0`, `a=sendrecv`, ``].join("\r\n");
  const message = (first, more, body, tag = "") => {
    const lines = [first, `Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK${number}`, `From: ${from}`, `To: ${to}${tag}`,
      `Call-ID: ${number}-${plain(texts.call_id)}`, ...more, `User-Agent: ${plain(texts.any)}`, `Subject: ${plain(texts.any)}`,
      ...(body ? [`Content-Type: application/sdp`] : []), `Content-Length: ${Buffer.byteLength(body)}`, "", body];
    return Buffer.from(lines.join("\r\n"));
  };
  const contact = `Contact: ${quoted(texts.any)} <sip:x@192.0.2.10>`;
  const asserted = `P-Asserted-Identity: ${quoted(texts.caller_name)} <sip:${encodeURIComponent(texts.caller)}@192.0.2.10>`;
  const diversion = `Diversion: ${quoted(texts.any)} <sip:${encodeURIComponent(texts.any)}@192.0.2.10>;reason=unconditional`;
  put(at_ms, frame(pbx, phone, message(`INVITE sip:${texts.extension}@${phone.ip} SIP/2.0`, ["CSeq: 1 INVITE", contact, asserted, diversion], sdp("192.0.2.10", ports.pbx))));
  put(at_ms + 50, frame(phone, pbx, message("SIP/2.0 180 Ringing", ["CSeq: 1 INVITE"], "", ";tag=b")));
  put(at_ms + 100, frame(phone, pbx, message("SIP/2.0 200 OK", ["CSeq: 1 INVITE", contact], sdp(phone.ip, ports.phone), ";tag=b")));
  put(at_ms + 150, frame(pbx, phone, message(`ACK sip:${texts.extension}@${phone.ip} SIP/2.0`, ["CSeq: 1 ACK"], "", ";tag=b")));
  const voice = (hz, from, to, ssrc) => {
    for (let i = 0; i < seconds * 50; i++) {
      const rtp = Buffer.alloc(172);
      rtp[0] = 0x80;
      rtp.writeUInt16BE(i, 2);
      rtp.writeUInt32BE(i * 160, 4);
      rtp.writeUInt32BE(ssrc, 8);
      for (let n = 0; n < 160; n++) rtp[12 + n] = muLaw(Math.round(8000 * Math.sin((2 * Math.PI * hz * (i * 160 + n)) / 8000)));
      put(at_ms + 200 + i * 20, frame(from, to, rtp));
    }
  };
  voice(LEFT_HZ, { ip: phone.ip, port: ports.phone }, { ip: pbx.ip, port: ports.pbx }, 0x1000 + number);
  voice(RIGHT_HZ, { ip: pbx.ip, port: ports.pbx }, { ip: phone.ip, port: ports.phone }, 0x2000 + number);
  put(at_ms + 300 + seconds * 1000, frame(pbx, phone, message(`BYE sip:${texts.extension}@${phone.ip} SIP/2.0`, ["CSeq: 2 BYE"], "", ";tag=b")));
  put(at_ms + 350 + seconds * 1000, frame(phone, pbx, message("SIP/2.0 200 OK", ["CSeq: 2 BYE"], "", ";tag=b")));
}

/** The bytes of a capture file (pcap, microseconds, Ethernet) of these calls, one after the other from `began_ms` on. */
export function capture(began_ms, seconds, calls) {
  const frames = [];
  calls.forEach((texts, i) => call(i, began_ms + i * 2000, seconds, texts, (at_ms, bytes) => frames.push([at_ms, bytes])));
  frames.sort(([one], [other]) => one - other);
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(65535, 16);
  head.writeUInt32LE(1, 20);
  const record = ([at_ms, bytes]) => {
    const about = Buffer.alloc(16);
    about.writeUInt32LE(Math.floor(at_ms / 1000), 0);
    about.writeUInt32LE((at_ms % 1000) * 1000, 4);
    about.writeUInt32LE(bytes.length, 8);
    about.writeUInt32LE(bytes.length, 12);
    return [about, bytes];
  };
  return Buffer.concat([head, ...frames.flatMap(record)]);
}
