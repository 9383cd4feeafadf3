"""The stems that generated documents are worded from, written for this package: verbs, nouns, adjectives, goods, syllables."""

from __future__ import annotations


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VERBS = _list(
    """accept adjust agree allow announce answer appear apply approve arrange assess attach balance begin bring build buy
    calculate call carry check claim clean close collect compare complete confirm connect consider contain continue
    copy correct cover deliver describe discuss divide drive empty enclose enter examine explain extend fasten fill
    finish follow forward gather handle heat hold improve include inform insure invite join keep label learn lend lift
    list load look lower make mark measure meet mend mention move need notice number offer open order paint park pay
    permit plan plant point post prefer prepare present print produce promise protect provide pull raise reach read
    receive record reduce refer remain remember remove rent repair repeat reply report request reserve return review
    save search seem sell send serve settle share show sign sort start state stop store suggest supply support test
    thank track train transfer treat turn update use value visit wait walk warn wash weigh wish work write"""
)
NOUNS = _list(
    """account address advice afternoon agreement amount answer appendix archive area article autumn balance bank basket
    bill blanket board boiler book bottle bridge brother budget building cable cabinet camera canal card carpet case
    cellar certificate chair charge church clerk climate clock coat committee company computer condition contract
    corner council counter county courtyard credit cup customer damage daughter decision delay delivery department
    deposit desk detail dinner director distance district doctor door drawer driver east edition effort energy engine
    envelope error estate evening evidence exchange expense factory farm father fee fence field file floor forest form
    fountain friend garage garden gate glass grant group guest hall harbour heating height hill history holiday hospital
    hour house idea income index industry insurance interest island issue item journey judge key kitchen ladder lake
    lamp land lane language law leather letter level library licence light limit list loan lock machine manager map
    market material meadow meaning measure meeting member message metal meter method mill minute model money month
    morning mother motor mountain museum music name nature neighbour newspaper night north notice number object office
    opinion orchard order owner page paper parcel parent park part passage patient payment pencil pension period permit
    person piano picture pipe place plan plate platform player pocket policy pond poster price problem product profit
    project property proposal pupil purpose quality quarter question radio railway rain reason receipt record reply
    report request result river road roof room rule salt sample school season section service shelf ship shop signal
    silver size snow society soil son south space spring stair station statement stone storm street student subject
    summer supply surface survey table tax teacher term theatre ticket timber title tool total tower town trade train
    transport tree tunnel union valley value vehicle version village visit voice wall warehouse water way weather week
    weight west wheel window winter witness wood worker workshop year yard"""
)
ADJECTIVES = _list(
    """able annual bare big black blue bright broad brown calm careful cheap clean clear cold common complete correct daily
    damp dark deep different double dry early easy empty equal exact exempt famous fast final fine firm flat foreign
    former free fresh full general gentle good great green grey happy hard heavy high hot hollow important joint kind
    large late light little local long loose low main medium mild modern monthly narrow native natural near neat new
    northern official old open ordinary outer pale partial patient plain polite poor possible present private proper
    public quick quiet ready recent red regular rich right rough round safe second senior separate serious several
    shallow sharp short silent simple slow small smooth soft solid southern special square steep straight strong sudden
    sweet tall temporary thick thin tidy tight upper urgent usual valid warm weekly western wet white whole wide wooden
    yellow young"""
)
CONNECTIVES = _list(
    """and or but because although while since unless until after before when where so that if as than with without from to
    into onto over under between among across along through during against about above below near for by at on in of"""
)
DETERMINERS = _list("the a this that each every our your their its his her any some no another both these those")
GOODS = _list(
    """apple apron bag ball band basil battery beans belt bolt bowl bread brush bucket bulb butter button candle cap carrot
    cheese chisel clamp cloth coffee comb cork cream drill egg fan filter flour fork frame fuse garlic glove glue grinder
    hammer handle hinge honey hook hose ink jam jar jug kettle knife lamp lemon lens lid lock mat milk mirror mug nail
    napkin needle noodles nut oil onion oven pan paste pear pen pepper pin plank plug plum pot pump rack radiator razor
    rice ring rope ruler salt saw scarf screw seal shovel sieve soap sock socket spade spanner sponge spoon stapler strap
    sugar switch syrup tap tape tea thread tile tin towel tray tube twine valve vase vinegar washer wax wire wool yeast
    zip"""
)
MONTHS = _list("January February March April May June July August September October November December")
DAYS = _list("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
STREETS = _list("Street Road Lane Avenue Close Way Square Hill Row Terrace Drive Court Crescent Quay")
FIRMS = _list("Ltd Inc. LLP GmbH Sons Group Partners Works Supplies Trading Co. S.A. AG plc Brothers")
GIVEN = _list(
    """Ada Agnes Albert Alma Amir Anna Anton Arun Astrid Bela Beth Boris Bruno Carla Cecil Clara Cyrus Dana David Dora Edgar
    Elena Emil Emma Erik Esme Fatima Felix Flora Frank Freya Gina Greta Hamid Hanna Hugo Ida Igor Imran Ines Iris Ivan
    Jack Jana Jonas Julia Kamal Karin Kofi Lars Laura Leila Lena Leo Lucia Magda Marco Marta Mei Milan Mina Nadia Nils
    Nora Olga Omar Oscar Paula Pavel Petra Priya Quentin Rana Remy Rosa Rufus Sara Selma Simon Sofia Stefan Sven Tara
    Theo Tomas Uma Ursula Vera Viktor Wanda Willem Xenia Yara Yusuf Zara Zoltan"""
)
ENDINGS = _list("s ed ing er ly ness ment able")
ONSETS = _list("b br c ch cl d dr f fl g gr h j k kl l m n p pr qu r s sh sk st t th tr v w y z")
VOWELS = _list("a e i o u ai ea ee ie oa ou au ei")
CODAS = _list("b ck d f g l ll m n nd ng nt p r rd rn rt s ss st t th x")
SURNAME_ENDS = _list("son sen man er ford ley ton berg stein ov ova ez ini ski well worth wick field bauer")
PLACE_ENDS = _list("ton ham ford bury by wick field ley mouth dale haven stead bridge burg dorf heim ville grad moor")
SCRIPTS = {  # letters of scripts written without joining, for pseudo-words; upper case is left to str.upper
    "greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщыьэюя",
    "accented": "aàáâäåæbcçdeèéêëfghiíîïklmnñoóôöøprstuúûüvwyz",
    "armenian": "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆ",
}
