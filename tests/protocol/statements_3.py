"""The normative statements of MQTT 3.1.1 (OASIS Standard, 29 October 2014, Appendix B), in our own words.

The same format as in `statements_5.py`. The standard's misprints (3.1.2.7, 3-8.3-4, 4.1.0.1, 4.3.x.y, 6.0.0.y) are mended.
"""

from __future__ import annotations

from typing import Final

STATEMENTS: Final = """
1.5.3-1 | both | text is well-formed UTF-8 without surrogates, or the connection ends
1.5.3-2 | both | text holds no U+0000, or the connection ends
1.5.3-3 | both | the bytes EF BB BF are U+FEFF and stay where they are
2.2.2-1 | both | reserved flags of the fixed header have the listed values
2.2.2-2 | both | others end the connection
2.3.1-1 | both | SUBSCRIBE, UNSUBSCRIBE and PUBLISH of QoS 1 and 2 have an identifier that is not 0
2.3.1-2 | client | a new one has an identifier that is not in use
2.3.1-3 | client | one that is sent again has the same, which is free once it was acknowledged
2.3.1-4 | server | so does a server's PUBLISH
2.3.1-5 | both | a PUBLISH of QoS 0 has none
2.3.1-6 | both | PUBACK, PUBREC and PUBREL have the identifier of their PUBLISH
2.3.1-7 | server | SUBACK and UNSUBACK have the identifier of what they answer
3.1.0-1 | client | CONNECT is the first packet
3.1.0-2 | server | a second CONNECT ends the connection
3.1.2-1 | server | whoever says another protocol name is not served as MQTT 3.1.1
3.1.2-2 | server | a level that is not served is answered with CONNACK 0x01 and closed
3.1.2-3 | server | the reserved flag of CONNECT is 0, or the connection ends
3.1.2-4 | both | without clean session the session there is goes on, or a new one begins, and is kept
3.1.2-5 | server | such a session collects messages of QoS 1 and 2 while the client is away
3.1.2-6 | both | with clean session the session there is is discarded; the new one ends with the connection
3.1.2-7 | server | retained messages do not end with a session
3.1.2-8 | server | the will is kept, and published when the connection ends without DISCONNECT
3.1.2-9 | both | with the will flag the will's topic and payload are there
3.1.2-10 | server | the will is gone once it was published, or after DISCONNECT
3.1.2-11 | both | without the will flag the will's QoS and retain are 0, and topic and payload are not there
3.1.2-12 | server | without it nothing is published when the connection ends
3.1.2-13 | both | without it the will's QoS is 0
3.1.2-14 | both | with it the will's QoS is not 3
3.1.2-15 | both | without it will retain is 0
3.1.2-16 | server | a will without will retain is not kept
3.1.2-17 | server | a will with will retain is kept as a retained message
3.1.2-18 | both | without the user name flag there is no user name
3.1.2-19 | both | with it there is one
3.1.2-20 | both | without the password flag there is no password
3.1.2-21 | both | with it there is one
3.1.2-22 | both | without a user name there is no password
3.1.2-23 | client | whoever has a keep alive and nothing else to say sends PINGREQ
3.1.2-24 | server | one and a half times the keep alive in silence ends the connection
3.1.3-1 | both | CONNECT's fields are in their order
3.1.3-2 | both | the client identifier names the session
3.1.3-3 | both | the client identifier is there, as the payload's first field
3.1.3-4 | both | it is UTF-8
3.1.3-5 | server | identifiers of 1 to 23 letters and digits are allowed
3.1.3-6 | server | who comes with an empty one is given one that is unique
3.1.3-7 | client | an empty one comes with clean session
3.1.3-8 | server | without, it is answered with CONNACK 0x02 and closed
3.1.3-9 | server | an identifier that is refused is answered with CONNACK 0x02 and closed
3.1.3-10 | both | the will's topic is UTF-8
3.1.3-11 | both | the user name is UTF-8
3.1.4-1 | server | a CONNECT that is not formed as it should be is closed without a CONNACK
3.1.4-2 | server | a connection with the same identifier is closed
3.1.4-3 | server | clean session is acted upon
3.1.4-4 | server | success is a CONNACK 0x00
3.1.4-5 | server | behind a CONNECT that was refused nothing is looked at
3.2.0-1 | server | CONNACK is the first packet
3.2.2-1 | server | clean session is answered with session present 0
3.2.2-2 | server | otherwise session present is 1 where there was a session
3.2.2-3 | server | and 0 where there was none
3.2.2-4 | server | a refusal has session present 0
3.2.2-5 | server | after a refusal the connection is closed
3.2.2-6 | server | where no return code fits, it is closed without a CONNACK
3.3.1-1 | both | what is sent again has DUP set
3.3.1-2 | both | QoS 0 never has
3.3.1-3 | both | DUP says whether this packet is sent again, whatever the publisher's said
3.3.1-4 | both | QoS is not 3, or the connection ends
3.3.1-5 | server | a message with RETAIN is kept with its QoS for subscribers to come
3.3.1-6 | server | a new subscription is sent the retained messages that match
3.3.1-7 | server | one of QoS 0 takes the place of the one before
3.3.1-8 | server | what is sent because of a new subscription has RETAIN set
3.3.1-9 | server | what is passed on to a subscription there was has not
3.3.1-10 | server | one without payload removes the retained message, and is delivered
3.3.1-11 | server | one without payload is not kept
3.3.1-12 | server | a message without RETAIN leaves the retained one alone
3.3.2-1 | both | the topic is PUBLISH's first field, and UTF-8
3.3.2-2 | both | a topic has no wildcards
3.3.2-3 | server | a message sent to a client matches one of its filters
3.3.4-1 | both | a PUBLISH is answered as its QoS wants
3.3.5-1 | server | of overlapping subscriptions the highest QoS holds
3.3.5-2 | server | a PUBLISH that is not permitted is acknowledged as ever, or ends the connection
3.6.1-1 | both | PUBREL's flags are 0010, or the connection ends
3.8.1-1 | both | SUBSCRIBE's flags are 0010, or the connection ends
3.8.3-1 | both | filters are UTF-8
3.8.3-2 | none | a server without wildcards refuses filters that have them | wildcards are served
3.8.3-3 | both | there is at least one filter
3.8.3-4 | server | reserved bits are 0 and QoS is not 3, or the connection ends
3.8.4-1 | server | SUBSCRIBE is answered with SUBACK
3.8.4-2 | server | with its packet identifier
3.8.4-3 | server | the same filter again takes the old subscription's place; retained messages are sent again and none is lost
3.8.4-4 | server | several filters are several subscriptions with one answer
3.8.4-5 | server | SUBACK tells for each the QoS that was granted, or a failure
3.8.4-6 | server | messages come with the lower of the publisher's QoS and the granted one
3.9.3-1 | server | SUBACK's return codes are in the filters' order
3.9.3-2 | server | each is 0x00, 0x01, 0x02 or 0x80
3.10.1-1 | both | UNSUBSCRIBE's flags are 0010, or the connection ends
3.10.3-1 | both | its filters are UTF-8
3.10.3-2 | both | there is at least one
3.10.4-1 | server | filters are compared byte by byte; the one that is equal is deleted
3.10.4-2 | server | from then on no new message comes because of it
3.10.4-3 | server | deliveries that had begun are completed
3.10.4-4 | server | UNSUBSCRIBE is answered with UNSUBACK, with its packet identifier
3.10.4-5 | server | even where nothing was deleted
3.10.4-6 | server | several filters are several packets with one answer
3.12.4-1 | server | PINGREQ is answered with PINGRESP
3.14.1-1 | server | DISCONNECT's reserved flags are 0, or the connection ends
3.14.4-1 | client | whoever sends DISCONNECT closes
3.14.4-2 | client | and sends nothing more
3.14.4-3 | server | DISCONNECT deletes the will
4.1.0-1 | both | a session's state is kept for as long as the session
4.1.0-2 | both | a session lasts at least as long as its connection
4.3.1-1 | both | QoS 0 is a PUBLISH of QoS 0 without DUP
4.3.2-1 | both | QoS 1, sender: an unused identifier, without DUP at first, unacknowledged until PUBACK comes
4.3.2-2 | both | QoS 1, receiver: PUBACK once the message is its own; after it the same identifier is a new message
4.3.3-1 | both | QoS 2, sender: an unused identifier, PUBREL after PUBREC, no PUBLISH again behind it
4.3.3-2 | both | QoS 2, receiver: PUBREC, answered again until PUBREL, delivered once, PUBCOMP
4.4.0-1 | both | a session that goes on sends again what is unacknowledged, with its identifiers
4.5.0-1 | server | a message that was taken is added to the session of all whose filters match
4.5.0-2 | client | every PUBLISH is acknowledged, wanted or not
4.6.0-1 | both | what is sent again is in its order
4.6.0-2 | both | PUBACKs are in the order of their PUBLISHes
4.6.0-3 | both | PUBRECs are
4.6.0-4 | both | PUBRELs are in the order of their PUBRECs
4.6.0-5 | server | every topic is an ordered one
4.6.0-6 | server | there, a client's messages of one QoS are passed on in their order
4.7.1-1 | both | wildcards are in filters and never in topics
4.7.1-2 | both | # is a level of its own, and the last
4.7.1-3 | both | + is a level of its own
4.7.2-1 | server | a filter that begins with a wildcard does not match what begins with $
4.7.3-1 | both | topics and filters are not empty
4.7.3-2 | both | they hold no U+0000
4.7.3-3 | both | they have at most 65,535 bytes
4.7.3-4 | server | they are matched as they are, and not made alike
4.8.0-1 | both | a protocol violation ends the connection
4.8.0-2 | both | what can't be done at the moment ends the connection
6.0.0-1 | both | WebSocket: packets are in binary frames; another frame ends the connection
6.0.0-2 | both | WebSocket: packets and frames need not begin together
6.0.0-3 | client | WebSocket: the client offers the subprotocol mqtt
6.0.0-4 | server | WebSocket: the server picks mqtt
7.0.0-1 | both | a server that connects to others is a conforming client too
7.0.0-2 | both | nothing outside of the standard is needed to work together
7.1.1-1 | server | the transport is an ordered, lossless stream of bytes
7.1.2-1 | client | so is the client's
"""
