"""The normative statements of MQTT 5.0 (OASIS Standard, 7 March 2019, Appendix B), in our own words.

One a line: number | whose duty | what it asks for; behind a further bar, where it is nobody's here, why. `statements.py`
reads it. The wording is not the standard's: read that beside it.
"""

from __future__ import annotations

from typing import Final

STATEMENTS: Final = """
1.5.4-1 | both | text is well-formed UTF-8 without surrogates
1.5.4-2 | both | text holds no U+0000
1.5.4-3 | both | the bytes EF BB BF are U+FEFF and stay where they are
1.5.5-1 | both | a variable byte integer takes as few bytes as it can
1.5.7-1 | both | both halves of a string pair are such text
2.1.3-1 | both | reserved flags of the fixed header have the listed values
2.2.1-2 | both | a PUBLISH of QoS 0 has no packet identifier
2.2.1-3 | client | a new SUBSCRIBE, UNSUBSCRIBE or PUBLISH of QoS 1 or 2 has an identifier that is not 0 and not in use
2.2.1-4 | server | a new PUBLISH of QoS 1 or 2 has an identifier that is not 0 and not in use
2.2.1-5 | both | PUBACK, PUBREC, PUBREL and PUBCOMP have the identifier of their PUBLISH
2.2.1-6 | server | SUBACK and UNSUBACK have the identifier of what they answer
2.2.2-1 | both | no properties are a property length of 0
3.1.0-1 | client | CONNECT is the first packet
3.1.0-2 | server | a second CONNECT is a protocol error that ends the connection
3.1.2-1 | both | the protocol name is MQTT; whoever says another is closed, after a CONNACK 0x84 or none
3.1.2-2 | server | a version that is not served is closed, after a CONNACK 0x84 or none
3.1.2-3 | server | the reserved flag of CONNECT is 0, or the packet is malformed
3.1.2-4 | both | clean start discards the session there is and begins a new one
3.1.2-5 | server | without clean start the session there is goes on
3.1.2-6 | server | without clean start and without a session a new one begins
3.1.2-7 | server | the will is kept with the session
3.1.2-8 | server | the will is published after the connection is closed and its delay or the session has ended, unless it was deleted
3.1.2-9 | both | with the will flag the will's properties, topic and payload are there
3.1.2-10 | server | the will is gone once it was published, or after DISCONNECT 0x00
3.1.2-11 | both | without the will flag the will's QoS is 0
3.1.2-12 | both | with it the will's QoS is 0, 1 or 2
3.1.2-13 | both | without it will retain is 0
3.1.2-14 | server | a will without will retain is not kept
3.1.2-15 | server | a will with will retain is kept as a retained message
3.1.2-16 | both | without the user name flag there is no user name
3.1.2-17 | both | with it there is one
3.1.2-18 | both | without the password flag there is no password
3.1.2-19 | both | with it there is one
3.1.2-20 | client | whoever has a keep alive and nothing else to say sends PINGREQ
3.1.2-21 | client | the server's keep alive goes before the client's own
3.1.2-22 | server | one and a half times the keep alive in silence ends the connection
3.1.2-23 | both | with a session expiry above 0 the session outlives the connection
3.1.2-24 | server | no packet is larger than the client's maximum packet size
3.1.2-25 | server | a message that is too large is dropped as if it had been sent
3.1.2-26 | server | no topic alias is above the client's maximum
3.1.2-27 | server | without such a maximum there are no topic aliases to the client
3.1.2-28 | server | response information is not told to who did not ask for it
3.1.2-29 | server | without problem information, reason strings and user properties stay off all but PUBLISH, CONNACK and DISCONNECT
3.1.2-30 | client | after an authentication method only AUTH and DISCONNECT come before CONNACK
3.1.3-1 | both | CONNECT's fields are in their order
3.1.3-2 | both | the client identifier names the session
3.1.3-3 | both | the client identifier is the payload's first field
3.1.3-4 | both | it is UTF-8
3.1.3-5 | server | identifiers of 1 to 23 letters and digits are allowed
3.1.3-6 | server | who comes with an empty one is given one that is unique
3.1.3-7 | server | the given one counts as the client's, and CONNACK tells it
3.1.3-8 | server | an identifier that is refused ends the connection, after a CONNACK 0x85 or none
3.1.3-9 | server | a connection within the will delay keeps the will from being sent
3.1.3-10 | server | the will's user properties keep their order
3.1.3-11 | both | the will's topic is UTF-8
3.1.3-12 | both | the user name is UTF-8
3.1.4-1 | server | a CONNECT that is not formed as it should be is closed
3.1.4-2 | server | who fails a further check (credentials, rights) is closed
3.1.4-3 | server | a connection with the same identifier is told 0x8E and closed
3.1.4-4 | server | clean start is acted upon
3.1.4-5 | server | success is a CONNACK 0x00
3.1.4-6 | server | behind a CONNECT that was refused nothing is looked at
3.2.0-1 | server | CONNACK goes before every other packet
3.2.0-2 | server | there is one CONNACK on a connection
3.2.2-1 | server | CONNACK's reserved flags are 0
3.2.2-2 | server | clean start is answered with session present 0
3.2.2-3 | server | otherwise session present tells whether there was one
3.2.2-4 | client | whoever has no session and is told of one closes
3.2.2-5 | client | whoever has one and is told of none discards it
3.2.2-6 | server | a refusal has session present 0
3.2.2-7 | server | after a refusal the connection is closed
3.2.2-8 | server | the reason code is one of CONNACK's
3.2.2-9 | none | a server without QoS 1 or 2 says so | all three are served
3.2.2-10 | none | such a server still takes subscriptions for every QoS | all three are served
3.2.2-11 | client | nothing is published above the server's maximum QoS
3.2.2-12 | none | a will above the maximum QoS is refused | all three are served
3.2.2-13 | none | a retained will is refused where nothing is retained | messages are retained
3.2.2-14 | client | nothing retained is published where nothing is retained
3.2.2-15 | client | no packet is larger than the server's maximum packet size
3.2.2-16 | server | the identifier that CONNACK assigns is used by no other session
3.2.2-17 | client | no topic alias is above the server's maximum
3.2.2-18 | client | without such a maximum there are no topic aliases to the server
3.2.2-19 | server | no reason string that makes CONNACK too large for the client
3.2.2-20 | server | no user property that makes CONNACK too large for the client
3.2.2-21 | client | the server's keep alive goes before the client's own
3.2.2-22 | server | without one of the server's, the client's holds
3.3.1-1 | both | what is sent again has DUP set
3.3.1-2 | both | QoS 0 never has
3.3.1-3 | both | DUP says whether this packet is sent again, whatever the publisher's said
3.3.1-4 | both | QoS is not 3
3.3.1-5 | server | a message with RETAIN takes the place of its topic's retained message
3.3.1-6 | server | one without payload removes it, and is delivered
3.3.1-7 | server | one without payload is not kept
3.3.1-8 | server | a message without RETAIN leaves the retained one alone
3.3.1-9 | server | retain handling 0 sends the retained messages of a filter
3.3.1-10 | server | retain handling 1 does if the subscription is new
3.3.1-11 | server | retain handling 2 does not
3.3.1-12 | server | without retain as published RETAIN is 0 when a message is passed on
3.3.1-13 | server | with it RETAIN is what it was
3.3.2-1 | both | the topic is PUBLISH's first field, and UTF-8
3.3.2-2 | both | a topic has no wildcards
3.3.2-3 | server | a message sent to a client matches one of its filters
3.3.2-4 | server | the payload format indicator is passed on as it is
3.3.2-5 | server | a copy that has expired before it was begun to be sent is dropped
3.3.2-6 | server | the expiry passed on is less by the time that the message waited
3.3.2-7 | both | topic aliases end with their connection
3.3.2-8 | both | topic alias 0 is not sent
3.3.2-9 | client | none is above what CONNACK allows
3.3.2-10 | client | all up to what CONNECT allows are taken
3.3.2-11 | server | none is above what CONNECT allows
3.3.2-12 | server | all up to what CONNACK allows are taken
3.3.2-13 | both | the response topic is UTF-8
3.3.2-14 | both | it has no wildcards
3.3.2-15 | server | it is passed on as it is
3.3.2-16 | server | correlation data are passed on as they are
3.3.2-17 | server | user properties are passed on as they are
3.3.2-18 | server | and in their order
3.3.2-19 | both | the content type is UTF-8
3.3.2-20 | server | it is passed on as it is
3.3.4-1 | both | a PUBLISH is answered as its QoS wants
3.3.4-2 | server | of overlapping subscriptions the highest QoS holds
3.3.4-3 | server | a message tells the subscription identifiers because of which it is sent
3.3.4-4 | server | one copy has those of all subscriptions that match
3.3.4-5 | server | of several copies each has its own
3.3.4-6 | client | a client's PUBLISH has none
3.3.4-7 | client | not more than receive maximum are unacknowledged
3.3.4-8 | client | other packets do not wait because of it
3.3.4-9 | server | not more than the client's receive maximum are unacknowledged
3.3.4-10 | server | other packets do not wait because of it
3.4.2-1 | both | the reason code is one of PUBACK's
3.4.2-2 | both | no reason string that makes PUBACK too large
3.4.2-3 | both | no user property that makes PUBACK too large
3.5.2-1 | both | the reason code is one of PUBREC's
3.5.2-2 | both | no reason string that makes PUBREC too large
3.5.2-3 | both | no user property that makes PUBREC too large
3.6.1-1 | both | PUBREL's flags are 0010, or it is malformed
3.6.2-1 | both | the reason code is one of PUBREL's
3.6.2-2 | both | no reason string that makes PUBREL too large
3.6.2-3 | both | no user property that makes PUBREL too large
3.7.2-1 | both | the reason code is one of PUBCOMP's
3.7.2-2 | both | no reason string that makes PUBCOMP too large
3.7.2-3 | both | no user property that makes PUBCOMP too large
3.8.1-1 | both | SUBSCRIBE's flags are 0010, or it is malformed
3.8.3-1 | both | filters are UTF-8
3.8.3-2 | both | there is at least one
3.8.3-3 | server | with no local, a client's own messages do not come back
3.8.3-4 | both | no local on a shared subscription is a protocol error
3.8.3-5 | server | reserved bits of the options are 0, or the packet is malformed
3.8.4-1 | server | SUBSCRIBE is answered with SUBACK
3.8.4-2 | server | with its packet identifier
3.8.4-3 | server | the same filter again takes the old subscription's place
3.8.4-4 | server | then retained messages are sent again (retain handling 0), and no message is lost
3.8.4-5 | server | several filters are several subscriptions with one answer
3.8.4-6 | server | SUBACK has a reason code for each filter
3.8.4-7 | server | it tells the QoS that was granted, or a failure
3.8.4-8 | server | messages come with the lower of the publisher's QoS and the granted one
3.9.2-1 | server | no reason string that makes SUBACK too large
3.9.2-2 | server | no user property that makes SUBACK too large
3.9.3-1 | server | SUBACK's reason codes are in the filters' order
3.9.3-2 | server | each is one of SUBACK's
3.10.1-1 | both | UNSUBSCRIBE's flags are 0010, or it is malformed
3.10.3-1 | both | its filters are UTF-8
3.10.3-2 | both | there is at least one
3.10.4-1 | server | filters are compared character by character; the one that is equal is deleted
3.10.4-2 | server | from then on no new message comes because of it
3.10.4-3 | server | deliveries that had begun are completed
3.10.4-4 | server | UNSUBSCRIBE is answered with UNSUBACK
3.10.4-5 | server | with its packet identifier, and even where nothing was deleted
3.10.4-6 | server | several filters are several packets with one answer
3.11.2-1 | server | no reason string that makes UNSUBACK too large
3.11.2-2 | server | no user property that makes UNSUBACK too large
3.11.3-1 | server | UNSUBACK's reason codes are in the filters' order
3.11.3-2 | server | each is one of UNSUBACK's
3.12.4-1 | server | PINGREQ is answered with PINGRESP
3.14.0-1 | server | no DISCONNECT before a CONNACK that accepts
3.14.1-1 | both | DISCONNECT's reserved flags are 0, or it is malformed
3.14.2-1 | both | the reason code is one of DISCONNECT's
3.14.2-2 | server | a server's DISCONNECT has no session expiry
3.14.2-3 | both | no reason string that makes DISCONNECT too large
3.14.2-4 | both | no user property that makes DISCONNECT too large
3.14.4-1 | both | after DISCONNECT nothing more is sent
3.14.4-2 | both | who sends DISCONNECT closes
3.14.4-3 | server | DISCONNECT 0x00 deletes the will
3.15.1-1 | both | AUTH's flags are 0, or it is malformed
3.15.2-1 | both | the reason code is one of AUTH's
3.15.2-2 | none | no reason string that makes AUTH too large | the broker offers no authentication method and sends no AUTH
3.15.2-3 | none | no user property that makes AUTH too large | the broker offers no authentication method and sends no AUTH
4.1.0-1 | both | the session is kept while the connection is open
4.1.0-2 | server | it ends when the connection is closed and its expiry has passed
4.2.0-1 | both | the transport is an ordered, lossless stream of bytes
4.3.1-1 | both | QoS 0 is a PUBLISH of QoS 0 without DUP
4.3.2-1 | both | QoS 1: a new message has an identifier that is not in use
4.3.2-2 | both | it is first sent without DUP
4.3.2-3 | both | it is unacknowledged until PUBACK comes
4.3.2-4 | both | the receiver answers PUBACK once the message is its own
4.3.2-5 | both | after that, the same identifier is a new message
4.3.3-1 | both | QoS 2: a new message has an identifier that is not in use
4.3.3-2 | both | it is first sent without DUP
4.3.3-3 | both | it is unacknowledged until PUBREC comes
4.3.3-4 | both | a PUBREC below 0x80 is answered with PUBREL
4.3.3-5 | both | PUBREL is unacknowledged until PUBCOMP comes
4.3.3-6 | both | after PUBREL the PUBLISH is not sent again
4.3.3-7 | both | a message that was sent does not expire
4.3.3-8 | both | the receiver answers PUBREC once the message is its own
4.3.3-9 | both | after a PUBREC of 0x80 or above, the same identifier is a new message
4.3.3-10 | both | until PUBREL, the same identifier is answered again and delivered once
4.3.3-11 | both | PUBREL is answered with PUBCOMP
4.3.3-12 | both | after PUBCOMP, the same identifier is a new message
4.3.3-13 | both | the exchange is completed even where the message has expired
4.4.0-1 | both | a session that goes on sends again what is unacknowledged, with its identifiers; nothing is sent again otherwise
4.4.0-2 | both | a PUBACK or PUBREC of 0x80 or above acknowledges: the message is not sent again
4.5.0-1 | server | a message that was taken is added to the session of all whose filters match
4.5.0-2 | client | every PUBLISH is acknowledged, wanted or not
4.6.0-1 | client | what is sent again is in its order
4.6.0-2 | client | PUBACKs are in the order of their PUBLISHes
4.6.0-3 | client | PUBRECs are
4.6.0-4 | client | PUBRELs are in the order of their PUBRECs
4.6.0-5 | server | on an ordered topic a client's messages of one QoS are passed on in their order
4.6.0-6 | server | every topic is an ordered one for subscriptions that are not shared
4.7.0-1 | both | wildcards are in filters and never in topics
4.7.1-1 | both | # is a level of its own, and the last
4.7.1-2 | both | + is a level of its own
4.7.2-1 | server | a filter that begins with a wildcard does not match what begins with $
4.7.3-1 | both | topics and filters are not empty
4.7.3-2 | both | they hold no U+0000
4.7.3-3 | both | they have at most 65,535 bytes
4.7.3-4 | server | they are matched as they are, and not made alike
4.8.2-1 | both | a shared filter begins with $share/ and a name
4.8.2-2 | both | the name has no /, + or #; behind it come / and a filter
4.8.2-3 | server | each of a group gets messages at its own granted QoS
4.8.2-4 | server | a QoS 2 delivery that a disconnect cut off goes on with that client
4.8.2-5 | server | if that client's session ends, it goes to no other
4.8.2-6 | server | a PUBACK or PUBREC of 0x80 or above discards the message for the group
4.9.0-1 | both | the send quota begins above 0 and not above the receive maximum
4.9.0-2 | both | at 0 nothing more of QoS 1 or 2 is sent
4.9.0-3 | both | at 0 everything else goes on
4.12.0-1 | server | an authentication method that is not offered ends the connection
4.12.0-2 | none | AUTH that asks for more says 0x18 | the broker offers no authentication method
4.12.0-3 | client | the answer to it says 0x18
4.12.0-4 | none | an authentication that is refused ends the connection | the broker offers no authentication method
4.12.0-5 | none | the method is the same in all packets of an authentication | the broker offers no authentication method
4.12.0-6 | server | without a method in CONNECT there is neither AUTH nor a method in CONNACK
4.12.0-7 | client | without a method in CONNECT the client sends no AUTH
4.12.1-1 | client | authenticating again is by the same method
4.12.1-2 | none | where that fails the connection is closed | the broker offers no authentication method
4.13.1-1 | server | a malformed packet or protocol error ends the connection
4.13.2-1 | server | a CONNACK or DISCONNECT of 0x80 or above ends it, whether or not it was sent
6.0.0-1 | both | WebSocket: packets are in binary frames; another frame ends the connection
6.0.0-2 | both | WebSocket: packets and frames need not begin together
6.0.0-3 | client | WebSocket: the client offers the subprotocol mqtt
6.0.0-4 | server | WebSocket: the server picks mqtt
"""
