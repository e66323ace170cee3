from mailgw.mail.reply import refusal_fault
from mailgw.mail.scripted import Act, script_of
from tests.tables import each


@each(("local_part", "said"), [
    ("x", None), ("x+", None), ("x+tag", None), ("451", None), ("+451", None), ("x451", None), ("x-451", None),
    ("x+399", None), ("x+400", "refuse 400"), ("x+451", "refuse 451"), ("x+459", "refuse 459"), ("x+460", None),
    ("x+499", None), ("x+500", "refuse 500"), ("x+550", "refuse 550"), ("x+559", "refuse 559"), ("x+560", None),
    ("x+600", None), ("x+250", None), ("x+4511", None), ("x+45", None), ("x+45a", None), ("x+\u0664\u0665\u0661", None),
    ("a+b+451", "refuse 451"), ("x+451+b", None), ("x+ 451", None), ("x+451\n", None),
    ("x+data451", "refuse content 451"), ("x+DATA550", "refuse content 550"), ("x+data460", None), ("x+data", None),
    ("x+slow", "wait 10"), ("X+Slow", "wait 10"), ("x+slow0", "wait 0"), ("x+slow30", "wait 30"),
    ("x+slow60", "wait 60"), ("x+slow61", "wait 60"), ("x+slow999", "wait 60"), ("x+slow1000", None),
    ("x+slow-1", None), ("x+slower", None), ("x+greylist", "greylist 451"), ("x+drop", "drop"), ("x+defer", "defer"),
    ("x+bounce", "bounce"), ("x+bounced", None),
])
def test_what_a_sub_address_asks_for(local_part: str, said: str | None) -> None:
    script = script_of(local_part)
    if script is None:
        assert said is None
        return
    words = [script.act.value]
    if script.reply is not None:
        words.append(str(script.reply.code))
    if script.act is Act.WAIT:
        words.append(f"{script.seconds:.0f}")
    assert " ".join(words) == said


@each("word", ["", "data"])
def test_every_reply_is_a_whole_one_of_its_class(word: str) -> None:
    for code in [*range(400, 460), *range(500, 560)]:
        script = script_of(f"x+{word}{code}")
        assert script is not None
        reply = script.reply
        assert reply is not None
        assert refusal_fault(reply) is None
        assert reply.code == code
        assert reply.status[0] == str(code)[0]
