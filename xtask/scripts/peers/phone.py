#!/usr/bin/env python3
"""One telephone on PJSIP (PyPI package pjsua2-python), driven by words: for captures of calls with several steps.

  phone.py ADDRESS NUMBER NAME SAYS.wav [OPTION=VALUE…] -- STEP…

Options: registrar=HOST secret=WORD codec=NAME[,NAME…] auto=200|180|486|none early=yes 100rel=yes timer=SECONDS
         bridge=yes (says nothing of its own; see join) transport=udp|tcp|tls ca=FILE.pem (tls) q=0.5 dtx=yes port=N ptime=MS accept_refer=no
Steps, one after the other; N counts the calls of this phone from 0:
  register              wait until registered
  call:NUMBER@HOST      a new call
  up[:N]                wait until call N is answered
  ring                  wait for an incoming call
  answer[:N] refuse:CODE[:N]
  sleep:SECONDS
  hold[:N] retrieve[:N] update[:N]
  digits:TEXT[:N]       telephone events (RFC 4733)     info:TEXT[:N]  by INFO
  transfer:NUMBER@HOST[:N]   blind         consult:A:B   call A goes to the party of call B (Replaces)
  join:A:B              what call A hears, call B is told, and the other way round: a B2BUA with media
  reoffer:CODEC[:N]     re-INVITE with that codec only
  bye[:N]               hang up            done[:N]      wait until call N is over
"""
import os
import sys
import time

import pjsua2 as pj

where, number, name, says, *rest = sys.argv[1:]
cut = rest.index("--")
options = dict(word.split("=", 1) for word in rest[:cut])
steps = rest[cut + 1 :]
PATIENCE = 20.0
calls = []
player = None


def told(text):
    print(f"{time.time():.3f} {number} {text}", flush=True)


class Leg(pj.Call):
    def __init__(self, account, id=pj.PJSUA_INVALID_ID):
        super().__init__(account, id)
        self.index = len(calls)
        self.over = False
        calls.append(self)

    def state(self):
        return pj.PJSIP_INV_STATE_DISCONNECTED if self.over else self.getInfo().state

    def onCallState(self, prm):
        info = self.getInfo()
        told(f"call {self.index} {info.stateText} {info.lastStatusCode} {info.lastReason}")
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.over = True

    def onCallMediaState(self, prm):
        global player
        info = self.getInfo()
        for i, media in enumerate(info.media):
            told(f"call {self.index} media {i} status {media.status} dir {media.dir}")
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status in (
                pj.PJSUA_CALL_MEDIA_ACTIVE,
                pj.PJSUA_CALL_MEDIA_REMOTE_HOLD,
            ):
                if "bridge" in options:
                    continue
                if player is None:
                    player = pj.AudioMediaPlayer()
                    player.createPlayer(says)
                player.startTransmit(self.getAudioMedia(i))

    def onCallTransferRequest(self, prm):
        told(f"call {self.index} is sent to {prm.dstUri}")
        prm.newCall = Leg(self.account_of)

    def onCallTransferStatus(self, prm):
        told(f"call {self.index} transfer {prm.statusCode} {prm.finalNotify}")
        if prm.finalNotify and prm.statusCode // 100 == 2 and not self.over:
            self.hangup(pj.CallOpParam(True))

    def onCallRedirected(self, prm):
        told(f"call {self.index} is redirected to {prm.targetUri}")
        return pj.PJSIP_REDIRECT_ACCEPT_REPLACE

    def onCallReplaceRequest(self, prm):
        told(f"call {self.index} is to be replaced")

    def onCallReplaced(self, prm):
        told(f"call {self.index} replaced by call id {prm.newCallId}")
        Leg(account, prm.newCallId)


class Account(pj.Account):
    def onRegState(self, prm):
        told(f"registration {prm.code}")

    def onIncomingCall(self, prm):
        leg = Leg(self, prm.callId)
        told(f"call {leg.index} comes in")
        auto = options.get("auto", "200")
        if auto != "none":
            reply = pj.CallOpParam(True)
            if options.get("early") == "yes":
                reply.statusCode = 183
                leg.answer(reply)
            elif auto != "200" or "ring" in options:
                reply.statusCode = 180
                leg.answer(reply)
            leg.auto_at = time.time() + float(options.get("ring", "0"))


endpoint = pj.Endpoint()
endpoint.libCreate()
config = pj.EpConfig()
config.uaConfig.threadCnt = 0
config.uaConfig.mainThreadOnly = True
config.uaConfig.userAgent = "phone"
config.logConfig.level = int(options.get("log", "3"))
config.logConfig.consoleLevel = config.logConfig.level
config.medConfig.clockRate = int(options.get("clock", "16000"))
config.medConfig.noVad = options.get("dtx") != "yes"
if "ptime" in options:
    config.medConfig.ptime = int(options["ptime"])
endpoint.libInit(config)
transport = pj.TransportConfig()
transport.port = int(options.get("port", "5060"))
transport.boundAddress = where
transport.publicAddress = where
tcp = options.get("transport") == "tcp"
tls = options.get("transport") == "tls"
if tls:
    transport.tlsConfig.CaListFile = options["ca"]
    transport.tlsConfig.verifyServer = True
six = ":" in where
kind = {
    (False, False): pj.PJSIP_TRANSPORT_UDP,
    (True, False): pj.PJSIP_TRANSPORT_TCP,
    (False, True): pj.PJSIP_TRANSPORT_UDP6,
    (True, True): pj.PJSIP_TRANSPORT_TCP6,
}[(tcp, six)]
endpoint.transportCreate(pj.PJSIP_TRANSPORT_TLS if tls else kind, transport)
endpoint.libStart()
endpoint.audDevManager().setNullDev()


def only(names):
    for codec in endpoint.codecEnum2():
        wanted = [i for i, n in enumerate(names) if codec.codecId.lower().startswith(n.lower() + "/") or codec.codecId.lower() == n.lower()]
        endpoint.codecSetPriority(codec.codecId, 200 - wanted[0] if wanted else 0)


only(options.get("codec", "PCMU").split(","))

suffix = ";transport=tcp" if tcp else ";transport=tls" if tls else ""
home = options.get("registrar", f"[{where}]" if six else where)
settings = pj.AccountConfig()
settings.idUri = f'"{name}" <sip:{number}@{home}>'
if "registrar" in options:
    settings.regConfig.registrarUri = f"sip:{home}{suffix}"
    settings.regConfig.timeoutSec = 300
    settings.sipConfig.proxies.append(f"sip:{home};lr{suffix}")
if "q" in options:
    settings.sipConfig.contactParams = f";q={options['q']}"
if "secret" in options:
    settings.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", number, 0, options["secret"]))
settings.mediaConfig.transportConfig.boundAddress = where
settings.mediaConfig.transportConfig.publicAddress = where
settings.mediaConfig.transportConfig.port = int(options.get("media", "40000"))
settings.mediaConfig.ipv6Use = pj.PJSUA_IPV6_ENABLED if six else pj.PJSUA_IPV6_DISABLED
settings.natConfig.contactRewriteUse = 0
settings.natConfig.viaRewriteUse = 0
settings.natConfig.sdpNatRewriteUse = 0
settings.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY if options.get("100rel") == "yes" else pj.PJSUA_100REL_NOT_USED
if "timer" in options:
    settings.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
    settings.callConfig.timerMinSESec = 90
    settings.callConfig.timerSessExpiresSec = int(options["timer"])
account = Account()
account.create(settings)
Leg.account_of = account


def turn(seconds=0.0):
    until = time.time() + seconds
    while True:
        endpoint.libHandleEvents(5)
        for leg in list(calls):
            at = getattr(leg, "auto_at", None)
            if at and time.time() >= at and not leg.over:
                leg.auto_at = None
                reply = pj.CallOpParam(True)
                reply.statusCode = int(options.get("auto", "200"))
                leg.answer(reply)
        if time.time() >= until:
            return


def wait(what, test):
    until = time.time() + PATIENCE
    while not test():
        turn()
        if time.time() > until:
            told(f"gave up on {what}")
            os._exit(1)


for step in steps:
    told(step)
    word, _, text = step.partition(":")
    words = text.split(":") if text else []
    if word == "register":
        wait(step, lambda: account.getInfo().regIsActive)
    elif word == "call":
        op = pj.CallOpParam(True)
        op.opt.videoCount = 0
        Leg(account).makeCall(f"sip:{text}{suffix}", op)
    elif word == "up":
        n = int(words[0]) if words else 0
        wait(step, lambda: len(calls) > n and calls[n].state() == pj.PJSIP_INV_STATE_CONFIRMED)
    elif word == "ring":
        seen = int(words[0]) if words else 1
        wait(step, lambda: len(calls) >= seen)
    elif word == "answer":
        op = pj.CallOpParam(True)
        op.statusCode = 200
        calls[int(words[0]) if words else 0].answer(op)
    elif word == "refuse":
        op = pj.CallOpParam()
        op.statusCode = int(words[0])
        calls[int(words[1]) if len(words) > 1 else 0].hangup(op)
    elif word == "sleep":
        turn(float(text))
    elif word == "hold":
        calls[int(words[0]) if words else 0].setHold(pj.CallOpParam(True))
    elif word in ("retrieve", "reoffer", "update"):
        op = pj.CallOpParam(True)
        op.opt.videoCount = 0
        if word == "retrieve":
            op.opt.flag = pj.PJSUA_CALL_UNHOLD
            calls[int(words[0]) if words else 0].reinvite(op)
        elif word == "reoffer":
            only(words[0].split(","))
            calls[int(words[1]) if len(words) > 1 else 0].reinvite(op)
        else:
            calls[int(words[0]) if words else 0].update(op)
    elif word == "digits":
        calls[int(words[1]) if len(words) > 1 else 0].dialDtmf(words[0])
    elif word == "info":
        op = pj.CallSendDtmfParam()
        op.method = pj.PJSUA_DTMF_METHOD_SIP_INFO
        op.duration = 160
        op.digits = words[0]
        calls[int(words[1]) if len(words) > 1 else 0].sendDtmf(op)
    elif word == "transfer":
        calls[int(words[1]) if len(words) > 1 else 0].xfer(f"sip:{words[0]}", pj.CallOpParam(True))
    elif word == "consult":
        calls[int(words[0])].xferReplaces(calls[int(words[1])], pj.CallOpParam(True))
    elif word == "join":
        a, b = (calls[int(w)].getAudioMedia(-1) for w in words)
        a.startTransmit(b)
        b.startTransmit(a)
    elif word == "bye":
        leg = calls[int(words[0]) if words else 0]
        if not leg.over:
            leg.hangup(pj.CallOpParam(True))
    elif word == "done":
        n = int(words[0]) if words else 0
        wait(step, lambda: len(calls) > n and calls[n].over)
    else:
        sys.exit(f"unknown step {step}")
turn(0.6)
for leg in calls:
    if not leg.over:
        leg.hangup(pj.CallOpParam(True))
turn(0.3)
told("leaves")
endpoint.libDestroy()
# The wrapper's objects would be taken down a second time.
os._exit(0)
